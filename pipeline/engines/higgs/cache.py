"""Keys and values of all rows in one block of memory, each row at its own position."""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class Window:
    """What the layers are asked for at the moment; shared by all of them, changed in place.

    While `slots` is set, prompts are read into those rows from position 0; else every row takes one step at its
    own position and sees the first `length` positions.
    """

    def __init__(self, rows: int, device: torch.device):
        self.positions = torch.zeros(rows, dtype=torch.long, device=device)
        self.rows = torch.arange(rows, device=device)
        self.slots: torch.Tensor | None = None
        self.length = 0

    def mask(self) -> torch.Tensor:
        """What each row may see in a step: bool (rows, 1, 1, length)."""
        seen = torch.arange(self.length, device=self.positions.device)[None] <= self.positions[:, None]
        return seen[:, None, None]


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer: (rows, heads, positions, size of a head) each."""

    def __init__(self, shape: tuple[int, ...], window: Window, dtype: torch.dtype):
        super().__init__()
        self.window = window
        self.keys = torch.zeros(shape, dtype=dtype, device=window.positions.device)
        self.values = torch.zeros_like(self.keys)
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: the memory is there from the beginning."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        window = self.window
        if window.slots is not None:
            span = key_states.shape[2]
            self.keys[window.slots, :, :span] = key_states.to(self.keys.dtype)
            self.values[window.slots, :, :span] = value_states.to(self.values.dtype)
            return key_states, value_states  # a prompt sees itself alone
        self.keys[window.rows, :, window.positions] = key_states[:, :, 0].to(self.keys.dtype)
        self.values[window.rows, :, window.positions] = value_states[:, :, 0].to(self.values.dtype)
        return self.keys[:, :, : window.length], self.values[:, :, : window.length]

    def get_seq_length(self) -> int:
        return 0  # masks and positions are given

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])


class SlotCache(Cache):
    """A static cache whose rows begin, step and end independently of each other."""

    def __init__(self, *, layers: int, heads: int, size: int, rows: int, length: int, like: torch.Tensor):
        self.window = Window(rows, like.device)
        shape = (rows, heads, length, size)
        super().__init__(layers=[SlotLayer(shape, self.window, like.dtype) for _ in range(layers)])
        self.rows, self.length = rows, length
