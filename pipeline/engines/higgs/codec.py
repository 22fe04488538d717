"""The codec: clips to codes, codes to samples, many at once and each as if it had been alone."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import HiggsAudioV2TokenizerModel

FRAMES = 2048  # of all items of a batch, with their padding: about 80 s, some 1 GB of work
CLIPS = 256  # whose codes are kept

Samples = NDArray[np.float32]


class Codec:
    """Encodes and decodes on the model's device. The model is float32: in bf16 its decoder is not stable."""

    def __init__(self, model: HiggsAudioV2TokenizerModel, frames: int = FRAMES):
        self.model, self.frames = model, frames
        self.sample_rate = int(model.config.sample_rate)
        self.hop = int(model.config.hop_length)  # samples of a frame
        self.books = len(model.quantizer.quantizers)
        self.codes = int(model.config.codebook_size)
        self.reach = reach(model.acoustic_decoder, self.hop)
        self._clips: OrderedDict[bytes, torch.Tensor] = OrderedDict()

    @torch.inference_mode()
    def encode(self, samples: Samples) -> torch.Tensor:
        """Codes (frames, codebooks), int64 on the host, of a clip (n,) at `sample_rate`; kept by its content."""
        if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
            raise ValueError(f"found samples of shape {samples.shape}, expected (n,) of finite numbers")
        key = hashlib.sha256(np.ascontiguousarray(samples, np.float32).tobytes()).digest()
        if key not in self._clips:
            clip = torch.from_numpy(samples.astype(np.float32))[None, None].to(self.model.device)
            with torch.backends.cudnn.flags(enabled=False):  # it would plan anew for every length
                self._clips[key] = self.model.encode(clip).audio_codes[0].T.cpu()
        self._clips.move_to_end(key)
        while len(self._clips) > CLIPS:
            self._clips.popitem(last=False)
        return self._clips[key]

    @torch.inference_mode()
    def decode(self, items: Sequence[torch.Tensor]) -> list[Samples]:
        """Samples (frames * hop,) of each item's codes (frames, codebooks), as if each had been decoded alone.

        Padding on the right changes the last frames of an item. These are decoded once more, without padding, as
        the end of pieces that all have one length, and put in place. ValueError for codes of another shape or out of
        range; torch.OutOfMemoryError where one item alone is too much.
        """
        for item in items:
            if item.ndim != 2 or item.shape[1] != self.books:
                raise ValueError(f"found codes of shape {tuple(item.shape)}, expected (frames, {self.books})")
            if len(item) and not 0 <= int(item.min()) <= int(item.max()) < self.codes:
                raise ValueError(
                    f"found codes from {int(item.min())} to {int(item.max())}, expected 0 to {self.codes - 1}"
                )
        found: list[Samples] = [np.zeros(0, np.float32)] * len(items)
        order = sorted(range(len(items)), key=lambda n: -len(items[n]))
        tail = 2 * self.reach
        long = [n for n in order if len(items[n]) > tail]
        while long:
            count = max(1, self.frames // len(items[long[0]]))
            self._decode_padded(items, long[:count], tail, found)
            long = long[count:]
        short = [n for n in order if 0 < len(items[n]) <= tail]
        for length, same in groupby(short, lambda n: len(items[n])):
            group, count = list(same), max(1, self.frames // length)
            for part in (group[at : at + count] for at in range(0, len(group), count)):
                for n, samples in zip(part, self._run([items[n] for n in part]), strict=True):
                    found[n] = samples
        return found

    def _decode_padded(self, items: Sequence[torch.Tensor], group: list[int], tail: int, found: list[Samples]) -> None:
        lengths = [len(items[n]) for n in group]
        padded = [nn.functional.pad(items[n], (0, 0, 0, lengths[0] - len(items[n]))) for n in group]
        wholes = self._run(padded)
        ends = self._run([items[n][-tail:] for n in group]) if lengths[-1] < lengths[0] else wholes
        for n, length, whole, end in zip(group, lengths, wholes, ends, strict=True):
            found[n] = whole[: length * self.hop].copy()
            if length < lengths[0]:
                found[n][-self.reach * self.hop :] = end[-self.reach * self.hop :]

    def _run(self, items: Sequence[torch.Tensor]) -> list[Samples]:
        """Items of one length in one call; in two halves where memory does not suffice."""
        try:
            codes = torch.stack(list(items)).transpose(1, 2).to(self.model.device)
            # cuDNN is left to choose by the shape of a batch: only among what is exact and repeats itself. TF32, its
            # default, keeps 10 bits of a sample, and an item would depend on its neighbours.
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                return list(self.model.decode(codes).audio_values[:, 0].cpu().numpy())
        except torch.OutOfMemoryError:
            if len(items) == 1:
                raise
        half = len(items) // 2
        return self._run(items[:half]) + self._run(items[half:])


def reach(decoder: nn.Module, hop: int) -> int:
    """Frames on either side that a decoder of convolutions looks at, from their kernels, dilations and strides."""
    frames, rate = 0.0, 1.0  # samples of a frame so far
    for module in decoder.modules():
        if isinstance(module, nn.ConvTranspose1d):
            frames += (module.kernel_size[0] - 1) / module.stride[0] / rate
            rate *= module.stride[0]
        elif isinstance(module, nn.Conv1d):
            frames += (module.kernel_size[0] - 1) // 2 * module.dilation[0] / rate
    assert rate == hop, "the decoder's modules are not in the order of its layers"
    return math.ceil(frames)
