"""StepGraph: a whole training step as one CUDA graph, which a GPU runs without being told each of its kernels.

A step of the latent game is thousands of kernels of microseconds each, and launching them from Python takes longer than
they do. What is captured is the function that plays a step without a graph too: it must ask nothing of the device and
give every tensor a shape that does not depend on the numbers. See https://pytorch.org/docs/stable/notes/cuda.html.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

WARM_UP = 3
"""Steps played before capture, on the stream of it: what allocates or chooses once must not do so in a graph."""

Play = Callable[[Iterator[Tensor]], dict[str, Tensor]]


class StepGraph:
    """Calls `play` with the batches' indices [moves, batch_size] on the device of `rng`, at first as it is, then as a
    graph. Where capture fails, a warning says so, and it stays as it is."""

    def __init__(self, play: Play, rng: torch.Generator, moves: int, batch_size: int) -> None:
        self.play, self.rng = play, rng
        self.index = torch.zeros(moves, batch_size, dtype=torch.int64, device=rng.device)
        self.stream = torch.cuda.Stream(rng.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stats: dict[str, Tensor] = {}
        self.plain = WARM_UP

    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        """Play a step; `index` [moves, batch_size] is on the host."""
        self.index.copy_(index, non_blocking=True)
        if self.plain > 0 or (self.graph is None and not self._capture()):
            self.plain -= 1
            return self._play_plainly()
        assert self.graph is not None
        self.graph.replay()
        return {name: value.clone() for name, value in self.stats.items()}  # the next replay overwrites them

    def _play_plainly(self) -> dict[str, Tensor]:
        here = torch.cuda.current_stream(self.rng.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            stats = self.play(iter(self.index))
        here.wait_stream(self.stream)
        return stats

    def _capture(self) -> bool:
        """Record a step, which is not played by this; False where that fails."""
        before = self.rng.clone_state()
        graph = torch.cuda.CUDAGraph()
        try:
            graph.register_generator_state(self.rng)  # each replay goes on in the random numbers
            with torch.cuda.graph(graph, stream=self.stream):
                self.stats = self.play(iter(self.index))
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[0][:120]
            warnings.warn(f"no CUDA graph of a training step, it is played without ({cause})", stacklevel=2)
            # A generator whose capture was cut off refuses to draw; its state as it was does not.
            self.rng.graphsafe_set_state(before)
            self.plain = 2**62
            return False
        self.graph = graph
        return True
