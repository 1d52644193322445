"""Digits read one pixel at a time: accuracy against steps of four recurrent nets of 100 units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.experiments.mnist import Digits, read_mnist
from unrolled.experiments.sequence_classifier import SequenceClassifier
from unrolled.experiments.setup import Results, Setup
from unrolled.neural.cells import Cell
from unrolled.report.line_chart import Line, Panel, line_chart, numbered
from unrolled.report.scales import Axis

SOURCE = (
    "Q. V. Le, N. Jaitly, G. E. Hinton. A simple way to initialize recurrent networks of rectified "
    "linear units, 2015, figure 3 (100 units, 28 x 28 pixels). The accuracies of the IRNN, 97 and "
    "82 %, are from memory and not checked against the paper."
)
REMEMBERED = True  # the published numbers are not checked against the paper
PUBLISHED = {"IRNN": {"plain, %": 97.0, "permuted, %": 82.0}}

CELLS: dict[str, dict[str, Any]] = {
    "LSTM": {"kind": "lstm"},
    "tanh RNN": {"kind": "elman"},
    "ReLU RNN": {"kind": "elman", "nonlinearity": "relu"},
    "IRNN": {"kind": "irnn"},
}
_HELD_OUT = 5000  # images at the end of the training set by which rates are chosen
_PART = 1000  # images in a batch of tests


@dataclass(frozen=True)
class Settings:
    """One size.

    Args:
        side: pixels of an image's side; 14 means the mean of each 2 x 2 pixels.
        units: of the state.
        batch: images an update.
        updates: of the final nets.
        rates: of Adam; each cell takes the one with which it did best, after `trial` updates, on
            images held out of the training set, in plain order, and never on the test set.
        trial: updates of each trial.
        points: tests during training.
        shown: test images of each of those; the last test uses all.
    """

    side: int = 14
    units: int = 100
    batch: int = 16
    updates: int = 6000
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    trial: int = 400
    points: int = 12
    shown: int = 2000
    seed: int = 1


SETTINGS = {
    "smoke": Settings(
        side=4, units=12, updates=20, rates=(1e-3, 3e-3), trial=4, points=2, shown=40
    ),
    "laptop": Settings(),
    "paper": Settings(side=28, batch=128, updates=100_000, trial=4000, points=50, shown=10_000),
}


class Trainer:
    """Trains nets on digits, with one size's settings, on a GPU if there is one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def train(
        self,
        name: str,
        rate: float,
        digits: Digits,
        updates: int,
        watch: Callable[[int, SequenceClassifier], None] = lambda step, net: None,
    ) -> SequenceClassifier:
        """A net after so many updates of Adam, clipped at norm 1."""
        settings = self.settings
        torch.manual_seed(settings.seed)
        cell = Cell(inputs=1, hidden=settings.units, **CELLS[name])
        net = SequenceClassifier(lambda pixels: pixels.unsqueeze(2), cell, 10).to(self.device)
        optimiser = torch.optim.Adam(net.parameters(), lr=rate)
        random = torch.Generator().manual_seed(settings.seed)
        every = max(settings.updates // settings.points, 1)
        for step in range(1, updates + 1):
            chosen = torch.randint(len(digits.train_labels), (settings.batch,), generator=random)
            pixels, labels = digits.train_images[:, chosen], digits.train_labels[chosen]
            net.train_on(pixels.to(self.device), labels.to(self.device), optimiser)
            if step % every == 0 or step == updates:
                watch(step, net)
        return net

    def accuracy(self, net: SequenceClassifier, images: Tensor, labels: Tensor) -> float:
        """Share of right answers."""
        parts = [slice(begin, begin + _PART) for begin in range(0, len(labels), _PART)]
        wrong = sum(
            net.wrong(images[:, part].to(self.device), labels[part].to(self.device))
            for part in parts
        )
        return 1 - wrong / len(labels)

    def best_rate(self, name: str, digits: Digits, report: Callable[[str], None]) -> float:
        """The rate with which a cell reads held-out training images best after a short trial."""
        few = digits.held_out(min(_HELD_OUT, len(digits.train_labels) // 5))
        found = {}
        for rate in self.settings.rates:
            net = self.train(name, rate, few, self.settings.trial)
            found[rate] = self.accuracy(net, few.test_images, few.test_labels)
        shares = ", ".join(f"rate {rate:g} {100 * share:.1f} %" for rate, share in found.items())
        report(f"{name}: {shares}")
        return max(found, key=lambda rate: found[rate])

    def curve(
        self, name: str, rate: float, digits: Digits, report: Callable[[str], None]
    ) -> list[tuple[int, float]]:
        """Test accuracies during training: pairs of a step and a share."""
        curve: list[tuple[int, float]] = []
        updates = self.settings.updates

        def watch(step: int, net: SequenceClassifier) -> None:
            shown = len(digits.test_labels) if step == updates else self.settings.shown
            images, labels = digits.test_images[:, :shown], digits.test_labels[:shown]
            curve.append((step, self.accuracy(net, images, labels)))
            report(f"{name}, step {step}: {100 * curve[-1][1]:.1f} %")

        self.train(name, rate, digits, updates, watch)
        return curve


def run(setup: Setup) -> Results:
    """Choose rates, then train each cell on plain and on permuted pixels.

    Raises:
        SettingError: no folder with MNIST's four files.
    """
    if setup.data is None:
        raise SettingError(
            "pixel-mnist needs MNIST", hint="Name the folder of its four files with --data"
        )
    settings = SETTINGS[setup.size]
    trainer = Trainer(settings)
    digits = read_mnist(setup.data, settings.side)
    rates = {name: trainer.best_rate(name, digits, setup.report) for name in CELLS}
    order = torch.randperm(settings.side**2, generator=torch.Generator().manual_seed(7))
    curves: dict[str, dict[str, Any]] = {}
    for task, given in (("plain", digits), ("permuted", digits.in_order(order))):
        setup.report(f"{task} order of pixels")
        curves[task] = {
            name: trainer.curve(name, rate, given, setup.report) for name, rate in rates.items()
        }
    table = {
        name: {f"{task}, %": 100 * curves[task][name][-1][1] for task in curves} for name in CELLS
    }
    return {
        "table": table, "settings": asdict(settings), "rates": rates,
        "curves": curves, "device": str(trainer.device),
    }  # fmt: skip


def draw(results: Results) -> dict[str, str]:
    """Accuracy by updates, for both orders of the pixels."""
    side, looks = results["settings"]["side"], numbered([*CELLS])
    panels = [
        Panel(
            [
                Line(name, [step for step, _ in curve], [100 * share for _, share in curve],
                     *looks[name], marker=looks[name][0])
                for name, curve in lines.items()
            ],
            Axis("updates"), Axis("test accuracy, %", limits=(0, 100)),
            f"{task} order of {side} × {side} pixels", 160,
        )
        for task, lines in results["curves"].items()
    ]  # fmt: skip
    return {"": line_chart(panels, "Test accuracy on digits read one pixel at a time")}
