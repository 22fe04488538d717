"""Samples on their way through a stream come out as they went in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.watermark.queue import Queue

STEPS = st.lists(st.tuples(st.sampled_from(["append", "drop", "first", "last"]), st.integers(0, 9)), max_size=30)


@given(steps=STEPS, shape=st.sampled_from([(), (1,), (2,)]))
def test_it_holds_what_an_array_would_hold(steps, shape):
    wanted = np.zeros((3, *shape), np.float32)
    queue, count = Queue(wanted), 0
    for step, size in steps:
        if step == "append":
            count += 1
            block = np.full((size, *shape), count, np.float32)
            queue.append(block)
            wanted = np.concatenate([wanted, block])
            block[:] = -1  # the caller's own again
        elif step == "drop":
            queue.drop(size)
            wanted = wanted[size:]
        elif step == "first":
            assert queue.first(size).tobytes() == wanted[:size].tobytes()
        else:
            assert queue.last(size).tobytes() == wanted[max(0, len(wanted) - size) :].tobytes()
        assert len(queue) == len(wanted)
    everything = queue.first(len(queue))
    assert everything.shape == wanted.shape
    assert everything.dtype == np.float32
    assert (everything == wanted).all()
