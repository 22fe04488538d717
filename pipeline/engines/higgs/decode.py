"""Continuous batching: a fixed number of rows over a static cache; a finished row's slot is filled again at once."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.engines.higgs.graphs import Graphs
from pipeline.engines.higgs.model import Model
from pipeline.engines.higgs.prompt import Prompt, undelayed
from pipeline.engines.higgs.sampling import Sampling, draw, redraw

EVERY = 4  # steps between two looks at who has finished: each look waits for the device
WIDTH = 64  # prompts are padded to a multiple of it
READ = 8192  # tokens of prompts that are read at once
LENGTH = 256  # a step looks at a multiple of so many positions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One line to speak: what for, its prompt, the seed of its draws, and the most rows of codes it may take."""

    name: Any
    prompt: Prompt
    seed: int  # 64 bits
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What became of a row: codes (frames, codebooks), int64 on the host, or why there are none."""

    row: Row
    codes: torch.Tensor | None = None
    ended: bool = False  # False: its limit came first
    error: str = ""


class Decoder:
    """Speaks what is in `waiting`, to which more may be added while it runs."""

    def __init__(self, model: Model, *, rows: int, length: int, sampling: Sampling):
        self.model, self.sampling, self.length = model, sampling, length
        self.waiting: deque[Row] = deque()
        self._held: list[Row | None] = []
        self._refused: list[Said] = []
        self._allocate(rows)

    @property
    def rows(self) -> int:
        """How many rows are spoken at once; fewer than were asked for where memory did not suffice."""
        return len(self._held)

    @torch.inference_mode()
    def run(self, deadline: float = math.inf) -> Iterator[list[Said]]:
        """Speak until nothing waits. `deadline` is of time.monotonic; what is not spoken by then says so.

        Rows on their way when it is closed are forgotten, slots and all.
        """
        try:
            while self.waiting or any(self._held):
                if time.monotonic() > deadline:
                    yield self._give_up("time-out")
                    return
                try:
                    self._fill()
                    self._steps()
                except torch.OutOfMemoryError:
                    if self.rows == 1:
                        raise
                    self._shrink()
                    continue
                if said := self._finished():
                    yield said
        finally:
            self._held = [None] * self.rows
            self._state.done.fill_(True)

    def _allocate(self, rows: int) -> None:
        self._held = [None] * rows
        self._reached = [0] * rows  # positions taken, known without asking the device
        self._cache = self.model.cache(rows, self.length)
        self._state = _State(rows, self.length, self.model.books, self._cache.window.positions.device)
        self._graphs = Graphs(self._cache.window.positions.device)

    def _shrink(self) -> None:
        """Half as many rows; what they were speaking is spoken again, to the same codes."""
        rows = self.rows
        self.waiting.extendleft(row for row in reversed(self._held) if row is not None)
        del self._cache, self._state, self._graphs
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._allocate(rows // 2)

    def _give_up(self, why: str) -> list[Said]:
        rows = [row for row in self._held if row is not None] + list(self.waiting)
        self.waiting.clear()
        return [Said(row=row, error=why) for row in rows]

    def _fill(self) -> None:
        """Read prompts into free slots, those of one width together. Rows that can never fit are refused."""
        groups: dict[int, list[tuple[int, Row]]] = {}
        free = [slot for slot, row in enumerate(self._held) if row is None]
        while free and self.waiting:
            row = self.waiting.popleft()
            if (room := self.length - len(row.prompt)) <= self.model.books + self.model.lead:
                found = f"the line and its reference take {len(row.prompt)} of the {self.length} positions of a row"
                self._refused.append(Said(row=row, error=f"{found}; raise engine.options.length"))
                continue
            slot = free.pop()
            self._held[slot], self._reached[slot] = row, len(row.prompt)
            self._state.begin(slot, row, min(row.limit, room))
            width = min(self.length, -(-len(row.prompt) // WIDTH) * WIDTH)
            groups.setdefault(width, []).append((slot, row))
        for width, group in groups.items():
            size = max(1, READ // width)
            for start in range(0, len(group), size):
                self._read(group[start : start + size], width)

    def _read(self, group: Sequence[tuple[int, Row]], width: int) -> None:
        window = self._cache.window
        window.slots = slots = torch.tensor([slot for slot, _ in group], device=window.positions.device)
        try:
            logits = self.model.read([row.prompt for _, row in group], width, self._cache)
        finally:
            window.slots = None
        window.positions[slots] = torch.tensor([len(row.prompt) for _, row in group], device=slots.device)
        self._advance(logits, slots)

    def _steps(self) -> None:
        live = [slot for slot, row in enumerate(self._held) if row is not None]
        if not live:
            return
        reach = max(self._reached[slot] for slot in live) + EVERY
        self._cache.window.length = length = min(self.length, -(-reach // LENGTH) * LENGTH)
        for _ in range(EVERY):
            self._graphs.run(length, self._step, self._state.done)
        for slot in live:
            self._reached[slot] += EVERY

    def _step(self) -> None:
        """One row of codes for every slot. It runs on the device alone and can be captured; rows that are done stay."""
        window, live = self._cache.window, ~self._state.done
        self._advance(self.model.step(self._state.codes, self._cache), window.rows)
        window.positions.add_(live).clamp_(max=self.length - 1)

    def _advance(self, logits: torch.Tensor, at: torch.Tensor) -> None:
        """Draw the next codes of the slots `at`, lead them through the delay pattern, and see who has finished."""
        state, model = self._state, self.model
        step, winding, done, seed = state.steps[at], state.winding[at], state.done[at], state.seeds[at]
        bos, eos = model.special.bos, model.special.eos
        drawn = draw(logits, seed, step, self.sampling)
        if self.sampling.window:
            recent = state.recent(at, step, self.sampling.window)
            drawn = redraw(drawn, logits, recent, seed, step, self.sampling, (bos, eos))
        drawn = torch.where(state.books > step[:, None] - model.lead, bos, drawn)
        drawn = torch.where(state.books < winding[:, None], eos, drawn)
        ends = (drawn == eos).any(-1) if model.hoarse else drawn[:, 0] == eos
        if not model.early:
            ends = ends & (step >= model.books)
        wound = torch.where(winding > 0, winding + 1, ends.long())
        state.out[at, step] = drawn.to(state.out.dtype)
        state.codes[at] = torch.where(done[:, None], state.codes[at], drawn)
        state.winding[at] = torch.where(done, winding, wound)
        state.steps[at] = torch.where(done, step, step + 1)
        state.done[at] = done | (wound == model.books - 1) | (step + 1 >= state.limits[at])

    def _finished(self) -> list[Said]:
        done, steps, winding = torch.stack([self._state.done, self._state.steps, self._state.winding]).tolist()
        said, self._refused = self._refused, []
        for slot, row in enumerate(self._held):
            if row is not None and done[slot]:
                codes = undelayed(self._state.out[slot, self.model.lead : steps[slot]]).long().cpu()
                said.append(Said(row=row, codes=codes, ended=winding[slot] == self.model.books - 1))
                self._held[slot] = None
        return said


class _State:
    """What the device knows of each slot."""

    def __init__(self, rows: int, length: int, books: int, device: torch.device):
        def counters() -> torch.Tensor:
            return torch.zeros(rows, dtype=torch.long, device=device)

        self.steps, self.limits, self.seeds = counters(), counters(), counters()
        self.winding = counters()  # rows since the first EOS, that one included; 0 before it
        self.done = torch.ones(rows, dtype=torch.bool, device=device)
        self.codes = torch.zeros(rows, books, dtype=torch.long, device=device)
        self.out = torch.zeros(rows, length + 1, books, dtype=torch.int16, device=device)
        self.books = torch.arange(books, device=device)

    def begin(self, slot: int, row: Row, limit: int) -> None:
        self.steps[slot] = self.winding[slot] = 0
        self.limits[slot], self.done[slot] = limit, False
        self.seeds[slot] = (row.seed & (1 << 64) - 1) - (1 << 64) * (row.seed >> 63 & 1)

    def recent(self, at: torch.Tensor, step: torch.Tensor, window: int) -> torch.Tensor:
        """The last rows (slots, window, books) before `step`; -1 where there were none yet."""
        back = step[:, None] - torch.arange(1, window + 1, device=step.device)
        return torch.where(back[..., None] < 0, -1, self.out[at[:, None], back.clamp(min=0)].long())
