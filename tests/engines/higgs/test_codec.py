"""The codec: many takes at once are the same as each alone."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engines.higgs.codec import Codec, reach

LENGTHS = [*range(1, 41), 57, 57, 120, 300]


def some_codes(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 1024, (frames, 8), generator=torch.Generator().manual_seed(1000 * seed + frames))


@pytest.fixture(scope="module")
def alone(codec_model: Any) -> Callable[[torch.Tensor], np.ndarray]:
    def decode(codes: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return codec_model.decode(codes.T[None]).audio_values[0, 0].numpy()

    return decode


@pytest.mark.parametrize("frames", [100, 700, 4096])
def test_many_at_once_are_the_same_as_each_alone(frames: int, codec_model: Any, alone: Any) -> None:
    items = [some_codes(length, n) for n, length in enumerate(LENGTHS)]
    order = np.random.default_rng(frames).permutation(len(items))
    found = Codec(codec_model, frames).decode([items[n] for n in order])
    for n, samples in zip(order, found, strict=True):
        assert samples.shape == (LENGTHS[n] * 960,)
        assert np.abs(samples).max() > 0.01
        assert np.abs(samples - alone(items[n])).max() < 1e-6


def test_it_knows_how_far_padding_reaches(codec_model: Any) -> None:
    exact, codes = copy.deepcopy(codec_model).double(), some_codes(60)
    with torch.inference_mode():
        alone = exact.decode(codes.T[None]).audio_values[0, 0]
        padded = exact.decode(torch.nn.functional.pad(codes, (0, 0, 0, 40)).T[None]).audio_values[0, 0, : 60 * 960]
    apart = (padded - alone).abs()
    first = int((apart > 1e-12).nonzero()[0]) / 960
    assert 6 < 60 - first <= reach(codec_model.acoustic_decoder, 960)
    assert apart.max() > 1e-3  # so that the splice is needed


def test_a_clip_is_encoded_once(codec_model: Any) -> None:
    runs: list[int] = []
    hook = codec_model.fc.register_forward_hook(lambda *_: runs.append(1))
    codec = Codec(codec_model)
    clip = np.random.default_rng(1).normal(0, 0.1, 3 * 24000).astype(np.float32)
    first, second, other = codec.encode(clip), codec.encode(clip.copy()), codec.encode(-clip)
    hook.remove()
    assert first.shape == (75, 8)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert len(runs) == 2


@pytest.mark.parametrize("length", [20, 60])
def test_no_batch_is_larger_than_allowed(length: int, codec_model: Any) -> None:
    ran: list[int] = []
    hook = codec_model.acoustic_decoder.register_forward_pre_hook(
        lambda _, given: ran.append(given[0].shape[0] * given[0].shape[2])
    )
    found = Codec(codec_model, 200).decode([some_codes(length + n % 2, n) for n in range(25)])
    hook.remove()
    assert len(found) == 25
    assert 100 < max(ran) <= 200


def test_a_gpu_may_not_round_what_it_decodes(codec_model: Any) -> None:
    cudnn, seen = torch.backends.cudnn, []
    hook = codec_model.acoustic_decoder.register_forward_pre_hook(
        lambda *_: seen.append((cudnn.allow_tf32, cudnn.deterministic))
    )
    before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled)
    Codec(codec_model).decode([some_codes(3)])
    hook.remove()
    assert seen == [(False, True)]
    assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == before


def test_what_does_not_fit_is_halved(codec_model: Any, alone: Any) -> None:
    tried: list[int] = []

    def small(module: Any, given: tuple[torch.Tensor]) -> None:
        tried.append(len(given[0]))
        if len(given[0]) > 2:
            raise torch.OutOfMemoryError

    hook = codec_model.acoustic_decoder.register_forward_pre_hook(small)
    items = [some_codes(30 + n, n) for n in range(7)]
    found = Codec(codec_model).decode(items)
    hook.remove()
    assert max(tried) == 7
    assert all(np.abs(samples - alone(item)).max() < 1e-6 for samples, item in zip(found, items, strict=True))


def test_what_does_not_fit_alone_is_an_error(codec_model: Any) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError

    hook = codec_model.acoustic_decoder.register_forward_pre_hook(full)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            Codec(codec_model).decode([some_codes(40)])
    finally:
        hook.remove()


def test_no_frames_give_no_samples(codec_model: Any) -> None:
    assert [len(samples) for samples in Codec(codec_model).decode([some_codes(0), some_codes(3)])] == [0, 3 * 960]


@pytest.mark.parametrize("clip", [np.zeros(0), np.zeros((2, 9)), np.full(9, np.nan)])
def test_a_clip_that_is_none_is_refused(clip: np.ndarray, codec_model: Any) -> None:
    with pytest.raises(ValueError, match=r"expected .n,. of finite numbers"):
        Codec(codec_model).encode(clip)


def test_codes_out_of_range_are_refused(codec_model: Any) -> None:
    with pytest.raises(ValueError, match="found codes from 0 to 1024, expected 0 to 1023"):
        Codec(codec_model).decode([torch.tensor([[0] * 7 + [1024]])])


@pytest.mark.parametrize("shape", [(5,), (5, 7), (5, 9), (1, 5, 8)])
def test_codes_of_another_shape_are_refused(shape: tuple[int, ...], codec_model: Any) -> None:
    with pytest.raises(ValueError, match=r"found codes of shape .*, expected \(frames, 8\)"):
        Codec(codec_model).decode([torch.zeros(shape, dtype=torch.long)])
