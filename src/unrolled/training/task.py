"""What the training loop trains: a model and its data behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from unrolled.runtime.memory import keep_freed_memory
from unrolled.runtime.torch_threads import set_threads
from unrolled.training.optimisers import Groups
from unrolled.training.settings import TrainingSettings


class BatchLoss(NamedTuple):
    """The loss of a batch.

    Attributes:
        mean: of the loss over ``weight`` tokens or sentences, those of this process.
        tokens: of the batch in all processes.
    """

    mean: float
    weight: int
    tokens: int


class Task:
    """A model and its data, as the loop trains them.

    Attributes:
        kind: of its checkpoints. metric: name of the score. lower_is_better: of the score.
        module: all that is trained. config: how. accumulate: batches of an update.
        batches_per_epoch, tokens_per_epoch: about how many.
        slices_work: whether its long computations are by `run_torch_slices` and the like, so that
            in all others torch had better compute with one thread.
    """

    kind: str
    metric: str
    lower_is_better = False
    slices_work = False
    module: nn.Module
    config: TrainingSettings
    accumulate = 1
    batches_per_epoch: int
    tokens_per_epoch: int

    def groups(self) -> Groups:
        """The dense parameters, and what the learning rate is multiplied by for each group."""
        return [(list(self.module.parameters()), 1.0)]

    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch, counted from 0: the same ones whenever it is asked for."""
        raise NotImplementedError

    def backward(self, batch: Any) -> BatchLoss:
        """Add the gradients of a batch's mean loss."""
        raise NotImplementedError

    def row_gradients(self) -> list[Tensor]:
        """Gradients that are clipped with those of the dense parameters."""
        return []

    def step_rows(self, factor: float) -> None:
        """Move what the dense optimiser does not, at a factor of its own first rate."""

    def forget_gradients(self) -> None:
        """Drop gradients that `step_rows` has not used."""

    def score(self) -> float | None:
        """Score of the validation data, if there are any."""
        raise NotImplementedError

    def identity(self) -> dict[str, dict[str, Any]]:
        """Settings and checksums of the data, which a resumed training must share."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """What else a checkpoint holds, of the whole batch in all processes."""
        return {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""


class Monitor(Protocol):
    """Watches the updates, as `unrolled.gradients.monitor.GradientMonitor` does."""

    def step(self, norm: float | None = None) -> object:
        """An update is due; the norm is that of the gradient before clipping, if known."""

    def close(self) -> None:
        """Training has ended."""


def prepare(seed: int, threads: int) -> None:
    """Seed torch's random numbers and set its threads, before a model is built."""
    torch.manual_seed(seed)
    set_threads(threads)
    keep_freed_memory()
