"""Training of nets that read digits pixel by pixel, as the training loop takes it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import DivergedError
from unrolled.experiments.mnist import Digits
from unrolled.experiments.sequence_classifier import SequenceClassifier
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import set_memory, set_timescales
from unrolled.neural.recurrent import Limits
from unrolled.runtime.threads import usable_cores
from unrolled.training.optimisers import Groups
from unrolled.training.settings import TrainingSettings
from unrolled.training.task import BatchLoss, Task, prepare

DIGITS = 10
_HIGHEST_LOSS = 100.0  # nats
_MOST_EXPLODED = 100  # batches without an update
_SHORTEST = 5  # steps in which a unit fades
_LONGEST = 4  # likewise, as a multiple of all steps
_PART = 1000  # images of a test that are read together

Batch = tuple[Tensor, Tensor]  # pixels (T, B) and labels (B,)


@dataclass(frozen=True)
class Start:
    """What the weights of a cell are before training, where they are not as the cell has them.

    Attributes:
        input_spread: weights from a pixel are uniform in plus or minus so much.
        memory: an LSTM's units forget after 1 to all steps; those of an Elman cell read themselves
            alone, and fade in 5 steps to four times all steps, see `set_timescales`.
    """

    input_spread: float = 0.0
    memory: bool = False

    def fill(self, cell: Cell, steps: int) -> None:
        """Fill the weights of a cell that reads so many pixels."""
        if self.input_spread:
            nn.init.uniform_(cell.input_weight, -self.input_spread, self.input_spread)
        if self.memory and cell.kind == "lstm":
            set_memory(cell.bias, steps)
        elif self.memory:
            set_timescales(cell.state_weight, _SHORTEST, _LONGEST * steps)


class DigitsTask(Task):
    """A net of one cell, and the digits that it learns.

    Args:
        cell: what `Cell` takes. digits: with those to score on as the test images.
        units: of the state.
        start: of its weights.
        state_rate: what the learning rate is multiplied by for weights from one state to the next.
        error_norm: largest norm of dE/dh_t of an image, as a multiple of 1 / batch; 0 for no limit.
        dropout_updates: share of an LSTM's updates dropped in training.
        device: where it computes.
    """

    kind, metric = "pixel-mnist", "accuracy"

    def __init__(
        self,
        cell: dict[str, Any],
        digits: Digits,
        config: TrainingSettings,
        *,
        units: int,
        start: Start,
        state_rate: float = 1.0,
        error_norm: float = 0.0,
        dropout_updates: float = 0.0,
        device: str = "cpu",
    ) -> None:
        prepare(config.seed, usable_cores())
        self.config, self.digits, self.device = config, digits, device
        self._net = {
            **cell, "units": units, "start": asdict(start), "state_rate": state_rate,
            "error_norm": error_norm, "dropout_updates": dropout_updates,
        }  # fmt: skip
        self._state_rate = state_rate
        limits = Limits(norm=error_norm / config.batch)
        layer = Cell(inputs=1, hidden=units, **cell)
        start.fill(layer, len(digits.train_images))
        self.module = self.net = SequenceClassifier(
            _columns, layer, DIGITS, limits, dropout_updates
        ).to(device)
        self._pixels = digits.train_images.t().contiguous()  # an image is read in one piece
        self.exploded = 0
        self.batches_per_epoch = len(self._pixels) // config.batch
        self.tokens_per_epoch = self.batches_per_epoch * config.batch

    def groups(self) -> Groups:
        """The weights between states, at a rate of their own, and all others."""
        slow = self.net.cell.state_weight
        others = [parameter for parameter in self.net.parameters() if parameter is not slow]
        return [([slow], self._state_rate), (others, 1.0)]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Images in an order of the epoch's own, without the last few that make no batch."""
        random = torch.Generator().manual_seed((self.config.seed << 20) + epoch)
        order = torch.randperm(len(self._pixels), generator=random)
        for chosen in torch.split(order[: self.tokens_per_epoch], self.config.batch):
            pixels, labels = self._pixels[chosen].t().contiguous(), self.digits.train_labels[chosen]
            yield pixels.to(self.device), labels.to(self.device)

    def backward(self, batch: Batch) -> BatchLoss:
        """Add the gradients of a batch's mean loss.

        States of ReLUs may explode on one batch and not on the next one: such a batch counts as one
        of the highest loss, and moves nothing where its gradient is not finite.

        Raises:
            DivergedError: that happened too often.
        """
        pixels, labels = batch
        loss = nn.functional.cross_entropy(self.net(pixels), labels)
        mean = float(loss.detach())
        torch.autograd.backward(loss)
        if not mean < _HIGHEST_LOSS:
            mean = _HIGHEST_LOSS
            self._drop_infinite()
        return BatchLoss(mean, len(labels), len(labels))

    def _drop_infinite(self) -> None:
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        if math.isfinite(float(nn.utils.get_total_norm(gradients))):
            return
        for gradient in gradients:
            gradient.zero_()
        self.exploded += 1
        if self.exploded > _MOST_EXPLODED:
            raise DivergedError(f"states have exploded on {self.exploded} batches")

    def tensors(self) -> dict[str, Tensor]:
        """On how many batches states have exploded."""
        return {"exploded": torch.tensor(self.exploded)}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        self.exploded = int(tensors["exploded"])

    def score(self) -> float:
        """Share of right answers on the images held out."""
        return accuracy(self.net, self.digits.test_images, self.digits.test_labels)

    def identity(self) -> dict[str, dict[str, Any]]:
        """The settings, and a checksum of the pixels in their order."""
        checksum = zlib.crc32(self._pixels.numpy().data)
        return {"settings": {**asdict(self.config), **self._net}, "data": {"pixels": checksum}}


def accuracy(net: SequenceClassifier, images: Tensor, labels: Tensor) -> float:
    """Share of right answers to images (T, N)."""
    device = net.output.weight.device
    parts = [slice(begin, begin + _PART) for begin in range(0, len(labels), _PART)]
    wrong = sum(net.wrong(images[:, p].to(device), labels[p].to(device)) for p in parts)
    return 1 - wrong / len(labels)


def _columns(pixels: Tensor) -> Tensor:
    return pixels.unsqueeze(2)
