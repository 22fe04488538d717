"""Drawing codes: as probable as they should be, and each by itself."""

import numpy as np
import torch

from pipeline.engines.higgs.sampling import Sampling, draw, redraw, uniform


def test_the_numbers_are_uniform_and_those_of_neighbours_independent() -> None:
    seeds, steps = torch.arange(300)[:, None], torch.arange(300)
    found = uniform(seeds, steps).double()
    assert 0 < found.min() < found.max() < 1
    counts = torch.histc(found, 50, 0, 1)
    assert ((counts - 1800) ** 2 / 1800).sum() < 90  # chi-square with 49 degrees of freedom, p about 3e-4
    for one, two in ((found[:, 1:], found[:, :-1]), (found[1:], found[:-1])):
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.015


def test_the_numbers_are_the_same_on_every_machine() -> None:
    seed = torch.tensor([0, 1, -1, 2**63 - 1])
    known = [0.6683, 0.0076, 0.9921, 0.1818]
    assert np.allclose(uniform(seed, torch.tensor(5), torch.tensor(7)).numpy(), known, atol=1e-4)


def test_codes_are_as_probable_as_their_logits_say() -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0]).repeat(1, 1, 1)
    how = Sampling(temperature=0.7, top_p=1.0, top_k=0)
    steps = torch.arange(20_000)
    drawn = draw(logits.expand(len(steps), 1, 5), torch.full_like(steps, 9), steps, how)[:, 0]
    share = torch.bincount(drawn, minlength=5) / len(steps)
    assert torch.allclose(share, (logits[0, 0] / 0.7).softmax(-1), atol=0.01)


def test_top_k_and_top_p_leave_the_likeliest() -> None:
    logits = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1])).expand(4000, 2, 4)
    seeds, steps = torch.arange(4000), torch.zeros(4000, dtype=torch.long)
    for how, left in (
        (Sampling(temperature=1, top_p=1.0, top_k=2), {0, 1}),
        (Sampling(temperature=1, top_p=0.65, top_k=0), {0, 1}),
        (Sampling(temperature=1, top_p=0.01, top_k=0), {0}),
        (Sampling(temperature=0), {0}),
    ):
        assert set(draw(logits, seeds, steps, how).flatten().tolist()) == left


def test_a_code_that_repeats_itself_is_drawn_anew() -> None:
    how = Sampling(window=4, repeats=2)
    logits, seed, step = torch.zeros(1, 2, 50), torch.tensor([3]), torch.tensor([8])
    drawn = torch.tensor([[7, 9]])
    recent = torch.tensor([[[7, 9], [7, 1], [5, 2], [5, 3]]])
    found = redraw(drawn, logits, recent, seed, step, how, (48, 49))
    assert found[0, 0] != 7
    assert found[0, 1] == 9
    edge = torch.full((1, 4, 2), 48)
    assert torch.equal(
        redraw(torch.tensor([[48, 48]]), logits, edge, seed, step, how, (48, 49)), torch.tensor([[48, 48]])
    )
