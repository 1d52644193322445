"""Digits read one pixel at a time: accuracy by updates of four recurrent nets of 100 units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch

from unrolled.errors import DivergedError, SettingError
from unrolled.experiments.digit_training import DigitsTask, Start, accuracy
from unrolled.experiments.mnist import Digits, read_mnist
from unrolled.experiments.setup import Results, Setup
from unrolled.report.line_chart import Line, Panel, line_chart, numbered
from unrolled.report.scales import Axis
from unrolled.training.averaging import set_parameters
from unrolled.training.loop import TrainingLoop
from unrolled.training.settings import TrainingSettings

SOURCE = (
    "Q. V. Le, N. Jaitly, G. E. Hinton. A simple way to initialize recurrent networks of rectified "
    "linear units, 2015, figure 3 (100 units, 28 x 28 pixels); their numbers, and the LSTM of the "
    "later paper, from T. Cooijmans, N. Ballas, C. Laurent, C. Gulcehre, A. Courville. Recurrent "
    "batch normalization. ICLR 2017, table 1."
)
PUBLISHED = {
    "IRNN, plain": {"test accuracy, %": 97.0},
    "IRNN, permuted": {"test accuracy, %": 82.0},
    "LSTM, plain": {"test accuracy, %": 98.9},
    "LSTM, permuted": {"test accuracy, %": 90.2},
    "tanh RNN, plain": {"test accuracy, %": 35.0},
    "tanh RNN, permuted": {"test accuracy, %": 35.0},
}


@dataclass(frozen=True)
class Net:
    """A net, which has a row of the table for each order of the pixels.

    Attributes:
        cell: what `Cell` takes.
        starts: of its weights, of which the one is taken that does best in trials.
        state_rate: as of `DigitsTask`.
    """

    cell: dict[str, Any]
    starts: tuple[Start, ...] = (Start(),)
    state_rate: float = 1.0


@dataclass(frozen=True)
class Row:
    """A net by its name, and the order in which it reads the pixels: one of `TASKS`."""

    name: str
    task: str
    net: Net

    @property
    def is_lstm(self) -> bool:
        """Whether it takes the settings of LSTMs."""
        return bool(self.net.cell["kind"] == "lstm")

    def __str__(self) -> str:
        return f"{self.name}, {self.task}"


# In the order in which they are trained. Held-out images of 14 x 14 permuted pixels after 20 epochs
# of an IRNN: 82.2 % with 0.995 of the identity, 84.9 with states that fade in 5 to 784 steps and
# larger weights from the pixels (the same with 2 to 400 steps; 84.7 with weights three times as
# large); weights between states at a tenth of the rate, 79.7 at a thirtieth and 82.1 at a third.
# Of 784 pixels in order after 4 epochs: 84.6, and 87.1 with weights three times as large and states
# that fade in 20 steps and more, a lead of which nothing is left after 65 of 110 epochs.
# After 625 updates of an LSTM of 784 pixels in order and permuted 16 and 44 % with its own start,
# with memory and larger weights from the pixels 63 and 27.
# What of permuted pixels an LSTM learns in 22 epochs without dropout it learns by heart: a loss of
# 0.15 nats, and 0.31 when it knew 91 % of the images held out, of 91.4 in the end.
NETS = {
    "IRNN": Net({"kind": "irnn"}, (Start(input_spread=0.3, memory=True),), state_rate=0.1),
    "LSTM": Net({"kind": "lstm"}, (Start(), Start(input_spread=1.0, memory=True))),
    "tanh RNN": Net({"kind": "elman"}),
    "ReLU RNN": Net({"kind": "elman", "nonlinearity": "relu"}),
}
TASKS = ("plain", "permuted")  # in order, and in an order that is drawn
_ROWS = [Row(name, task, net) for name, net in NETS.items() for task in TASKS]
ROWS = {str(row): row for row in _ROWS}
PERMUTATION = 7  # seed of the order of pixels, the same for all sizes and nets


@dataclass(frozen=True)
class Settings:
    """One size.

    Args:
        side: pixels of an image's side; 14 means the mean of each 2 x 2 pixels.
        units: of the state.
        batch: images an update.
        epochs: of the final nets, in order and permuted. lstm_epochs: of LSTMs, whose epochs take
            four times as long.
        lstm_dropout: share of LSTMs' updates dropped in training, in order and permuted.
        rates: of Adam; each net takes the one, and the start of its weights, with which it did
            best on held-out images after trials of `trial` epochs of `trial_images` images, and
            never sees the test set.
        lstm_trial: as `trial`, of LSTMs.
        held_out: images at the end of the training set by which rates are chosen.
        watched: likewise, of which the final nets' curves are; all others they train on.
        error_norm: largest norm of an image's dE/dh_t, as a multiple of 1 / batch; 0 for no limit.
        averaging: epochs over which weights are averaged.
    """

    side: int = 14
    units: int = 100
    batch: int = 32
    epochs: tuple[int, int] = (12, 12)
    lstm_epochs: tuple[int, int] = (6, 6)
    lstm_dropout: tuple[float, float] = (0.0, 0.0)
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    trial: int = 1
    lstm_trial: int = 1
    trial_images: int = 20_000
    held_out: int = 10_000
    watched: int = 5000
    # Three epochs of 14 x 14 pixels in order at rate 1e-3: 71.6 % without a limit, 65.9 with 1.
    error_norm: float = 0.0
    averaging: float = 0.5
    warmup: int = 200
    seed: int = 1

    def epochs_of(self, row: Row) -> int:
        """Epochs of the final net of a row."""
        return (self.lstm_epochs if row.is_lstm else self.epochs)[TASKS.index(row.task)]

    def trial_of(self, row: Row) -> int:
        """Epochs of its trials."""
        return self.lstm_trial if row.is_lstm else self.trial

    def dropout_of(self, row: Row) -> float:
        """Share of its updates that is dropped."""
        return self.lstm_dropout[TASKS.index(row.task)] if row.is_lstm else 0.0


SETTINGS = {
    "smoke": Settings(
        side=4, units=12, batch=8, epochs=(2, 3), lstm_epochs=(3, 2), lstm_dropout=(0.0, 0.25),
        rates=(1e-3, 3e-3), trial_images=64, held_out=20, watched=20, warmup=2,
    ),
    "laptop": Settings(),
    "paper": Settings(
        side=28, epochs=(150, 110), lstm_epochs=(22, 50), lstm_dropout=(0.0, 0.25),
        rates=(3e-4, 1e-3, 3e-3), trial=4, trial_images=35_000, averaging=2,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a net's training depends on."""

    row: Row
    start: Start
    rate: float
    epochs: int
    images: int
    held_out: int
    settings: Settings

    @property
    def config(self) -> TrainingSettings:
        """As the training loop takes it."""
        settings = self.settings
        return TrainingSettings(
            epochs=self.epochs, batch=settings.batch, seed=settings.seed, rate=self.rate,
            warmup=settings.warmup, averaging=min(settings.averaging, self.epochs / 2),
        )  # fmt: skip


class Trainer:
    """Trains nets on digits, and continues where it was ended."""

    def __init__(self, setup: Setup, digits: dict[str, Digits]) -> None:
        self.settings = SETTINGS[setup.size]
        self.digits, self.report = digits, setup.report
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.finished = setup.finished_runs([setup.data] if setup.data else [])

    def best_first(self, row: Row) -> list[tuple[Start, float]]:
        """Starts and rates, those first that do best on held-out images after a short trial."""
        settings = self.settings
        epochs, found = settings.trial_of(row), {}
        for choice in product(row.net.starts, settings.rates):
            run = Run(row, *choice, epochs, settings.trial_images, settings.held_out, settings)
            found[choice] = self.train(run, tested=False)["held_out"]
        shares = ", ".join(f"{_in_words(*key)} {100 * share:.1f} %" for key, share in found.items())
        self.report(f"{row}: {shares}")
        return sorted(found, key=lambda choice: -found[choice])

    def best(self, row: Row) -> dict[str, Any]:
        """A net with its best start and rate; where training diverges, with the next ones."""
        settings = self.settings
        epochs, images = settings.epochs_of(row), len(self.digits[row.task].train_labels)
        result: dict[str, Any] = {}
        for choice in self.best_first(row):
            run = Run(row, *choice, epochs, images, settings.watched, settings)
            result = self.train(run, tested=True)
            if "diverged" not in result:
                break
        return result

    def train(self, run: Run, *, tested: bool) -> dict[str, Any]:
        """Train a net, or find the result of an earlier run: its curve and accuracies.

        Args:
            tested: whether the trained net reads the test set.
        """
        earlier: dict[str, Any] | None = self.finished.find(run)
        if earlier is not None:
            return earlier
        digits, net = self.digits[run.row.task], run.row.net
        label = f"{run.row}, {_in_words(run.start, run.rate)}"
        held_out = min(run.held_out, len(digits.train_labels) // 5)
        task = DigitsTask(
            net.cell, digits.held_out(held_out).first(run.images), run.config,
            units=self.settings.units, start=run.start, state_rate=net.state_rate,
            error_norm=self.settings.error_norm,
            dropout_updates=self.settings.dropout_of(run.row), device=self.device,
        )  # fmt: skip
        loop = TrainingLoop(task)
        checkpoint = self.finished.checkpoint(run)
        loop.enable_checkpoints(checkpoint, resume=True)
        if loop.epoch or loop.position:
            self.report(f"{label}: continuing in epoch {loop.epoch + 1}")
        result: dict[str, Any] = {"rate": run.rate, "start": asdict(run.start)}
        try:
            loop.run(report=lambda line: self.report(f"{label}: {line}, {_left(loop)}"))
        except DivergedError as error:
            self.report(f"{label}: {error}")
            result["diverged"] = str(error)
            set_parameters(task.module, loop.best or loop.averager.values())
        if tested:
            result["test"] = accuracy(task.net, digits.test_images, digits.test_labels)
        updates = task.batches_per_epoch
        result["curve"] = [(updates * record.epoch, record.score) for record in loop.curve]
        result["losses"] = [record.loss for record in loop.curve]
        result["seconds"] = sum(record.seconds for record in loop.curve)
        result["held_out"] = max((record.score or 0.0 for record in loop.curve), default=0.0)
        saved: dict[str, Any] = self.finished.save(run, result)
        checkpoint.unlink(missing_ok=True)
        return saved


def _in_words(start: Start, rate: float) -> str:
    return f"rate {rate:g}" + (" with memory" if start.memory else "")


def run(setup: Setup) -> Results:
    """Choose rates on held-out images, then train each net on plain and on permuted pixels.

    Raises:
        SettingError: no folder with MNIST's four files.
    """
    if setup.data is None:
        raise SettingError(
            "pixel-mnist needs MNIST", hint="Name the folder of its four files with --data"
        )
    settings = SETTINGS[setup.size]
    plain = read_mnist(setup.data, settings.side)
    order = torch.randperm(settings.side**2, generator=torch.Generator().manual_seed(PERMUTATION))
    trainer = Trainer(setup, {"plain": plain, "permuted": plain.in_order(order)})
    runs: dict[str, Any] = {}
    for name in setup.rows or ROWS:
        runs[name] = trainer.best(ROWS[name])
        setup.report_row(name, _numbers(runs[name]))
    return {
        "settings": asdict(settings), "permutation_seed": PERMUTATION, "device": trainer.device,
        **_in_order(runs),
    }  # fmt: skip


def merge(earlier: Results, fresh: Results) -> Results:
    """Results of both, in the order of the rows; where one is in both, that of the fresh run."""
    return {**fresh, **_in_order({**earlier["runs"], **fresh["runs"]})}


def _in_order(runs: dict[str, Any]) -> Results:
    """The table, curves and runs, in the order of the rows."""
    runs = {name: runs[name] for name in ROWS if name in runs}
    curves: dict[str, dict[str, Any]] = {task: {} for task in TASKS}
    for name, run in runs.items():
        curves[ROWS[name].task][ROWS[name].name] = run["curve"]
    return {
        "rows": {name: asdict(ROWS[name]) for name in runs},
        "table": {name: _numbers(run) for name, run in runs.items()},
        "curves": curves,
        "runs": runs,
    }


def _numbers(run: dict[str, Any]) -> dict[str, float]:
    return {"test accuracy, %": 100 * run["test"]}


def _left(loop: TrainingLoop) -> str:
    """How long the training will take, by the epochs of before."""
    mean = sum(record.seconds for record in loop.curve) / len(loop.curve)
    left = (loop.settings.epochs - loop.epoch) * mean / 60
    return f"{loop.epoch} of {loop.settings.epochs} epochs done, {left:.1f} min left"


def draw(results: Results) -> dict[str, str]:
    """Accuracy on held-out images by updates, for both orders of the pixels."""
    side, looks = results["settings"]["side"], numbered([*NETS])
    panels = []
    for task, curves in results["curves"].items():
        lines = []
        for name, curve in curves.items():
            xs, ys = [updates for updates, _ in curve], [100 * share for _, share in curve]
            lines.append(Line(name, xs, ys, *looks[name], marker=looks[name][0]))
        title = f"{task} order of {side} × {side} pixels"
        x, y = Axis("updates"), Axis("accuracy, %", limits=(0, 100))
        if lines:
            panels.append(Panel(lines, x, y, title, 160))
    return {"": line_chart(panels, "Accuracy on digits read one pixel at a time")}
