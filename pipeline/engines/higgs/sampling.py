"""Choosing codes: seeded by row, step and codebook, so that a take does not depend on its neighbours in the batch."""

from dataclasses import dataclass

import torch

_LOW = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How codes are drawn. Temperature 0 takes the likeliest ones.

    `window` and `repeats` are those of repetition-aware sampling (VALL-E 2, section 3.3): a code that stood `repeats`
    times in the last `window` rows of its codebook is drawn anew from all codes; 0: off.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 30
    window: int = 0
    repeats: int = 2


def uniform(seed: torch.Tensor, *counters: torch.Tensor) -> torch.Tensor:
    """Numbers in (0, 1), float32, of integers alone: a counter-based generator, the same on every device.

    `seed` and `counters` are int64 and broadcast. Each is mixed in by MurmurHash3's 32-bit finaliser.
    """
    state = _mix(seed & _LOW) ^ (seed >> 32 & _LOW)
    for counter in counters:
        state = _mix(state) ^ (counter & _LOW)
    return ((_mix(_mix(state)) >> 9).to(torch.float32) + 0.5) / (1 << 23)


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x + 0x9E3779B9) & _LOW  # zero would stay zero
    x = (x ^ (x >> 16)) * 0x85EBCA6B & _LOW
    x = (x ^ (x >> 13)) * 0xC2B2AE35 & _LOW
    return x ^ (x >> 16)


def draw(logits: torch.Tensor, seed: torch.Tensor, step: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Codes (rows, books) of logits (rows, books, codes), for seeds and steps (rows,), int64.

    Nothing here waits for the host or depends on other rows. The draw is Gumbel's: of the codes that top-k and
    top-p leave, the one with the highest logit plus noise, where the noise belongs to (seed, step, book, code).
    """
    logits = logits.float()
    if how.temperature <= 0:
        return logits.argmax(-1)
    best, codes = logits.topk(min(how.top_k or logits.shape[-1], logits.shape[-1]), dim=-1)
    best = best / how.temperature
    shares = best.softmax(-1)
    before = shares.cumsum(-1) - shares  # the likeliest code always stays
    best = best.masked_fill(before >= how.top_p, -torch.inf)
    return codes.gather(-1, (best + _noise(seed, step, codes)).argmax(-1, keepdim=True))[..., 0]


def redraw(
    drawn: torch.Tensor, logits: torch.Tensor, recent: torch.Tensor, seed: torch.Tensor, step: torch.Tensor,
    how: Sampling, edges: tuple[int, int],
) -> torch.Tensor:  # fmt: skip
    """Repetition-aware sampling: codes (rows, books), given those drawn and the last ones (rows, window, books)."""
    said = (recent == drawn[:, None]) & (recent != edges[0]) & (recent != edges[1])
    codes = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape)
    anew = (logits.float() + _noise(~seed, step, codes)).argmax(-1)
    return torch.where(said.sum(1) >= how.repeats, anew, drawn)


def _noise(seed: torch.Tensor, step: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    book = torch.arange(codes.shape[1], device=codes.device)[:, None]
    chance = uniform(seed[:, None, None], step[:, None, None], book, codes)
    return -(-chance.log()).log()
