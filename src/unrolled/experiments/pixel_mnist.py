"""Digits read one pixel at a time: accuracy against steps of four recurrent nets of 100 units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.experiments.mnist import Digits, read_mnist
from unrolled.gradients.clipping import clip_by_norm
from unrolled.neural.cells import Cell

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
_PART = 1000  # images that are read side by side in tests


@dataclass(frozen=True)
class Settings:
    """One size.

    Args:
        side: pixels of an image's side; 14 means the mean of each 2 x 2 pixels.
        units: of the state.
        batch: images an update.
        updates: of the nets that are shown.
        rates: of Adam; each cell takes the one with which it did best, after `trial` updates, on
            images held out of the training set, in plain order. The test set has no say.
        trial: updates of each trial.
        points: tests on the way.
        shown: test images of each of those; the last test takes all.
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


class PixelReader(nn.Module):
    """A cell that reads pixels and names the digit at the end."""

    def __init__(self, units: int, kind: str, nonlinearity: str = "tanh") -> None:
        super().__init__()
        self.cell = Cell(kind, 1, units, nonlinearity=nonlinearity)
        self.output = nn.Linear(units, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores (B, 10) of pixels (T, B)."""
        x = pixels.unsqueeze(2)
        return self.output(self._states(x)[-1])  # type: ignore[no-any-return]

    def _states(self, x: Tensor) -> Tensor:
        cell = self.cell
        begin = x.new_zeros(x.shape[1], cell.hidden)
        if x.device.type == "cpu" or cell.kind not in ("elman", "irnn"):
            return cell.run_fused(x, (begin,) * cell.states)[0]
        return by_torch(cell, x, begin)


def by_torch(cell: Cell, x: Tensor, begin: Tensor) -> Tensor:
    """States (T, B, H) of an Elman cell by torch's kernels, which on a GPU are the faster ones."""
    run = torch.rnn_relu if cell.nonlinearity == "relu" else torch.rnn_tanh
    weights = [cell.input_weight, cell.state_weight, cell.bias, torch.zeros_like(cell.bias)]
    given = (x, begin.unsqueeze(0), weights, True, 1, 0.0, cell.training, False, False)
    states: Tensor = run(*given)[0]
    return states


def run(
    data: Path | None, size: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Choose rates, then train each cell on plain and on permuted pixels.

    Raises:
        SettingError: no folder with MNIST's four files.
    """
    from unrolled.report.experiment_plots import line_panels, require_matplotlib

    require_matplotlib()
    if data is None:
        raise SettingError(
            "pixel-mnist needs MNIST", hint="Name the folder of its four files with --data"
        )
    settings = SETTINGS[size]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = read_mnist(data, settings.side)
    rates = {name: _best_rate(name, digits, settings, device, report) for name in CELLS}
    order = torch.randperm(settings.side**2, generator=torch.Generator().manual_seed(7))
    curves: dict[str, dict[str, Any]] = {}
    for task, given in (("plain", digits), ("permuted", digits.in_order(order))):
        curves[task] = {}
        for name, rate in rates.items():
            curves[task][name] = _train(name, rate, given, settings, device, report, task)
    picture = folder / f"pixel-mnist-{size}.svg"
    panels = {
        f"{task}, {settings.side} x {settings.side}": {
            name: ([step for step, _ in curve], [100 * share for _, share in curve])
            for name, curve in lines.items()
        }
        for task, lines in curves.items()
    }
    text = line_panels(panels, x_label="steps", y_label="test accuracy, %")
    picture.write_text(text, encoding="utf-8")
    table = {
        name: {f"{task}, %": 100 * curves[task][name][-1][1] for task in curves} for name in CELLS
    }
    return {
        "table": table, "pictures": [picture.name], "settings": asdict(settings), "rates": rates,
        "curves": curves, "device": str(device),
    }  # fmt: skip


def _best_rate(
    name: str,
    digits: Digits,
    settings: Settings,
    device: torch.device,
    report: Callable[[str], None],
) -> float:
    """The rate with which a cell reads held-out training images best after a short trial."""
    few = digits.held_out(min(_HELD_OUT, len(digits.train_labels) // 5))
    found = {}
    for rate in settings.rates:
        net, _ = _trained(name, rate, few, settings, device, settings.trial)
        found[rate] = _accuracy(net, few.test_images, few.test_labels, device)
    report(f"{name}: " + ", ".join(f"rate {rate:g} {100 * a:.1f} %" for rate, a in found.items()))
    return max(found, key=lambda rate: found[rate])


def _train(
    name: str,
    rate: float,
    digits: Digits,
    settings: Settings,
    device: torch.device,
    report: Callable[[str], None],
    task: str,
) -> list[tuple[int, float]]:
    """Test accuracies on the way: pairs of a step and a share."""

    def tell(step: int, net: PixelReader) -> None:
        shown = len(digits.test_labels) if step == settings.updates else settings.shown
        share = _accuracy(net, digits.test_images[:, :shown], digits.test_labels[:shown], device)
        curve.append((step, share))
        report(f"{task}, {name}, step {step}: {100 * share:.1f} %")

    curve: list[tuple[int, float]] = []
    _trained(name, rate, digits, settings, device, settings.updates, tell)
    return curve


def _trained(
    name: str,
    rate: float,
    digits: Digits,
    settings: Settings,
    device: torch.device,
    updates: int,
    tell: Callable[[int, PixelReader], None] = lambda step, net: None,
) -> tuple[PixelReader, float]:
    """A net after so many updates of Adam, clipped at norm 1, and its last loss."""
    torch.manual_seed(settings.seed)
    net = PixelReader(settings.units, **CELLS[name]).to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    random = torch.Generator().manual_seed(settings.seed)
    every = max(settings.updates // settings.points, 1)
    loss = torch.zeros(())
    for step in range(1, updates + 1):
        chosen = torch.randint(len(digits.train_labels), (settings.batch,), generator=random)
        pixels = digits.train_images[:, chosen].to(device)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(pixels), digits.train_labels[chosen].to(device))
        torch.autograd.backward(loss)
        clip_by_norm([p.grad for p in net.parameters() if p.grad is not None], 1.0)
        optimiser.step()
        if step % every == 0 or step == updates:
            tell(step, net)
    return net, float(loss.detach())


@torch.no_grad()
def _accuracy(net: PixelReader, images: Tensor, labels: Tensor, device: torch.device) -> float:
    right = 0
    for begin in range(0, len(labels), _PART):
        part = images[:, begin : begin + _PART].to(device)
        right += int((net(part).argmax(1).cpu() == labels[begin : begin + _PART]).sum())
    return right / len(labels)
