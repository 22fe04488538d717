"""A step as one CUDA graph: a GPU then waits for no Python between its hundreds of kernels."""

from collections.abc import Callable

import torch

WARM = 2  # runs before a capture, in which libraries allocate what they need


class Graphs:
    """Graphs of a step, one for each number of positions that it looks at; without CUDA the step itself."""

    def __init__(self, device: torch.device):
        self._captured: dict[int, torch.cuda.CUDAGraph] = {}
        self._cuda = device.type == "cuda"

    def run(self, length: int, step: Callable[[], None], done: torch.Tensor) -> None:
        """Take the step. `done` marks rows that must not move; while a graph is captured no row does."""
        if not self._cuda:
            step()
            return
        if length not in self._captured:
            self._captured[length] = self._capture(step, done)
        self._captured[length].replay()

    def _capture(self, step: Callable[[], None], done: torch.Tensor) -> "torch.cuda.CUDAGraph":
        before = done.clone()
        done.fill_(True)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._captured.values())).pool() if self._captured else None  # one pool: they run in turn
        with torch.cuda.graph(graph, pool=pool):
            step()
        done.copy_(before)
        return graph
