"""Gradients by lag and Jacobians of a trained net on a text, or of fresh cells.

>>> report = measure_cell("elman", hidden=16, steps=12, batch=4)
>>> print(report.table().splitlines()[0])
lag  norm  share  beyond  |J|  bound
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unrolled.errors import SettingError, TextError
from unrolled.gradients.adjoint import Entering
from unrolled.gradients.by_lag import GradientLags, LayerLags
from unrolled.gradients.diagnostics import of_lags, of_units
from unrolled.gradients.jacobians import JacobianReport, jacobian_report, some_steps
from unrolled.gradients.lags import count_lags, trace_net
from unrolled.gradients.stacks import Stack
from unrolled.gradients.tangents import Tangent
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import initialise
from unrolled.neural.net import RecurrentNet, build_net
from unrolled.neural.streams import Batch, by_sentence, contiguous_batches, steps_of
from unrolled.runtime.torch_threads import set_threads
from unrolled.text.vocabulary import BOS, EOS

if TYPE_CHECKING:
    from unrolled.neural.model import NeuralModel
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]

_SENTENCES = 2  # whose Jacobians are computed
# Fresh cells to compare: name -> kind and settings of `measure_cell`.
CELLS: dict[str, dict[str, Any]] = {
    "elman tanh": {"cell": "elman"},
    "elman tanh, orthogonal": {"cell": "elman", "start": "orthogonal"},
    "elman sigmoid": {"cell": "elman", "nonlinearity": "sigmoid"},
    "irnn (ReLU, identity)": {"cell": "irnn"},
    "lstm, forget bias 0": {"cell": "lstm", "forget_bias": 0.0},
    "lstm, forget bias 1": {"cell": "lstm", "forget_bias": 1.0},
    "gru": {"cell": "gru"},
}


@dataclass(frozen=True)
class GradientReport:
    """Gradients by lag and Jacobians of every layer.

    Attributes:
        name: of the model or the cell.
        lags: norms by lag. jacobians: of each layer.
        settings: what was measured: steps, batch, batches and so on.
        loss: mean of -log p of a word, None for cells without one.
    """

    name: str
    lags: GradientLags
    jacobians: list[JacobianReport]
    settings: dict[str, Any]
    loss: float | None = None

    def diagnostics(self) -> list[str]:
        """What the numbers mean, in words."""
        found = []
        for layer, jacobian in zip(self.lags.layers, self.jacobians, strict=True):
            reached = f"{layer.name}: gradients reach the longest lag, {len(layer.norms) - 1}"
            found += of_lags(layer) or [reached]
            found.append(
                f"{jacobian.name}: spectral radius {_by_gate(jacobian.radii, '{:.2f}')}; "
                f"spectral norm {jacobian.beta_weight:.2f}; "
                f"saturated {_by_gate(jacobian.saturated, '{:.0%}').replace('%', ' %')}; "
                f"dead units {100 * jacobian.dead:.0f} %"
            )
            found += of_units(layer.name, jacobian.dead, jacobian.saturated)
        return found

    def table(self) -> str:
        """A table for each layer, columns two spaces apart.

        norm is the mean of |dE_t/dh_{t-k}|, share its part of the sum over all pairs, beyond what
        longer lags have; of dU is the lag's share of the recurrent weights' gradient, if that was
        asked for. |J| is the mean spectral norm of k steps' Jacobians, with its bound.
        """
        tables = []
        shares = self.lags.weight_shares()
        several = len(self.jacobians) > 1
        for number, (layer, jacobian) in enumerate(
            zip(self.lags.layers, self.jacobians, strict=True)
        ):
            columns = _columns(layer, jacobian, shares[number] if shares else None)
            wide = [max(map(len, [name, *cells])) for name, cells in columns.items()]
            rows = [tuple(columns), *zip(*columns.values(), strict=True)]
            lines = ["  ".join(map(str.rjust, row, wide)) for row in rows]
            tables.append("\n".join([layer.name, *lines] if several else lines))
        return "\n\n".join(tables)

    def record(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        shares = self.lags.weight_shares()
        pairs = zip(self.lags.layers, self.jacobians, strict=True)
        layers = [{**layer.record(), "jacobians": jacobian.record()} for layer, jacobian in pairs]
        if shares:
            for layer, share in zip(layers, shares, strict=True):
                layer["weight_shares"] = share.tolist()
        return {
            "name": self.name,
            "settings": self.settings,
            "loss": self.loss,
            "diagnostics": self.diagnostics(),
            "layers": layers,
        }


def _by_gate(values: dict[str, float], form: str) -> str:
    if len(values) == 1:
        return form.format(*values.values())
    return ", ".join(f"{form.format(value)} ({gate})" for gate, value in values.items())


def _columns(
    layer: LayerLags, jacobian: JacobianReport, weight_shares: Array | None
) -> dict[str, list[str]]:
    """Cells by column, for each of the first lags, then for fewer and fewer."""
    longest = len(layer.norms) - 1
    steps = jacobian.steps.tolist()
    measured = {*range(min(longest, 6) + 1), *some_steps(max(longest, 1)), *steps}
    shown = [lag for lag in sorted(measured) if lag <= longest]

    def numbers(values: Array) -> list[str]:
        return [f"{values[lag]:.3g}" for lag in shown]

    def percents(values: Array) -> list[str]:
        return [f"{100 * values[lag]:.2f} %" for lag in shown]

    def by_steps(values: Array) -> list[str]:
        known = dict(zip(steps, values, strict=True))
        return [f"{known[lag]:.3g}" if lag in known else "" for lag in shown]

    columns = {
        "lag": [str(lag) for lag in shown],
        "norm": numbers(layer.norms),
        "share": percents(layer.shares),
        "beyond": percents(np.maximum(1 - np.cumsum(layer.shares), 0)),
    }
    if weight_shares is not None:
        columns["of dU"] = percents(weight_shares)
    if layer.cell_norms is not None:
        columns["cell"] = numbers(layer.cell_norms)
    if layer.highway_norms is not None:
        columns["highway"] = numbers(layer.highway_norms)
    return {**columns, "|J|": by_steps(jacobian.norms), "bound": by_steps(jacobian.bound)}


def _check(**numbers: tuple[int, int]) -> None:
    for name, (value, least) in numbers.items():
        if value < least:
            raise SettingError(f"{name} is {value}, allowed are {least} and more")


# -- a trained net on a text ---------------------------------------------------------------------


def measure_gradients(
    model: NeuralModel | str,
    sources: Sources,
    *,
    steps: int = 35,
    batch: int = 32,
    batches: int = 4,
    weights: bool = False,
    fresh: int | None = None,
    threads: int = 2,
) -> GradientReport:
    """Gradients by lag and Jacobians of a trained net on a text, under the loss it was trained on.

    Args:
        model: a net, or its file.
        sources: files, folders or "-".
        steps: T that errors may flow back. batch: sequences in a batch. batches: how many to use.
        weights: also the share of each lag in the gradient of the recurrent weights.
        fresh: a seed: measure the same net with untrained parameters instead.

    Raises:
        SettingError: a model that is no recurrent net, or numbers below 1 (steps: below 2).
        TextError: a text that cannot be read, or is empty.
    """
    opened = _recurrent(model)
    _check(steps=(steps, 2), batch=(batch, 1), batches=(batches, 1))
    set_threads(threads)
    net = opened.net if fresh is None else _fresh(opened.net, len(opened.vocabulary), fresh)
    found, losses, state = [], [], None
    for item in _batches(opened, sources, threads, (steps, batch, batches)):
        words, targets = (torch.from_numpy(part) for part in (item.inputs, item.targets))
        trace = trace_net(net, words, targets, None if item.fresh else state)
        state = trace.after
        losses.append(trace.loss)
        found.append(trace.lags(weights=weights))
    if not found:
        raise TextError("the text is empty: it has no gradients", where=str(sources))
    settings = {"steps": steps, "batch": batch, "batches": len(losses)}
    name = opened.name if fresh is None else f"{opened.name}, untrained"
    reports = _jacobian_reports(trace.stack, trace.tangents(slice(_SENTENCES)))
    return GradientReport(
        name, GradientLags.total(found), reports, settings, float(np.mean(losses))
    )


def sentence_gradients(model: NeuralModel | Any, ids: Array) -> tuple[GradientLags, float]:
    """Gradients by lag of one sentence, </s> included, and its loss: mean of -log p of a word.

    Args:
        model: a recurrent net.
        ids: (T,) its words, without <s> and </s>.

    Raises:
        SettingError: a model that is no recurrent net.
    """
    net = _recurrent(model).net
    steps = steps_of(np.concatenate([[BOS], ids, [EOS]]))
    words, targets = (torch.from_numpy(part[:, None]) for part in (steps.inputs, steps.targets))
    trace = trace_net(net, words, targets)
    return trace.lags(), trace.loss


def _jacobian_reports(stack: Stack, traced: list[tuple[Tangent, ...]]) -> list[JacobianReport]:
    return [
        jacobian_report(tangent, name=name)
        for (tangent,), name in zip(traced, stack.names, strict=True)
    ]


def _recurrent(model: NeuralModel | str) -> Any:
    """The model, if it is a recurrent net."""
    from unrolled.neural.model import NeuralModel
    from unrolled.storage.loading import load, require_kind

    opened = load(model) if isinstance(model, str) else model
    net = require_kind(opened, NeuralModel, "measuring gradients", where=opened.path)
    if not isinstance(net.net, RecurrentNet):
        raise SettingError(
            f"only recurrent nets have gradients through time, and this is {net.name}",
            where=net.path,
            hint="Train one with `unrolled train net`",
        )
    return net


def _fresh(net: RecurrentNet, size: int, seed: int) -> RecurrentNet:
    """A net of the same configuration with untrained parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = build_net(net.config, size, net.class_of)
    # Training starts the output's biases at the words' frequencies: the trained ones are close.
    own = dict(net.output.named_parameters())
    with torch.no_grad():
        for name, parameter in found.output.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(own[name])
    found.eval()
    assert isinstance(found, RecurrentNet)
    return found


def _batches(
    model: Any, sources: Sources, threads: int, sizes: tuple[int, int, int]
) -> list[Batch]:
    """The first batches of a text; contiguous ones, of a net that carries its state on."""
    from unrolled.text.corpus import read_corpus

    steps, batch, batches = sizes
    corpus = read_corpus(
        sources, options=model.text_options, vocabulary=model.vocabulary, threads=threads
    )
    if corpus.tokens == 0:
        return []
    found = steps_of(corpus.ids)
    if model.net.config.reset_state_per_sentence:
        random = np.random.default_rng(1)
        return list(islice(by_sentence(found, batch, steps, random), batches))
    # A short text is cut into fewer sequences, so that each is long enough.
    parts = max(min(batch, found.inputs.size // steps), 1)
    return list(islice(contiguous_batches(found, parts, steps), batches))


# -- fresh cells -----------------------------------------------------------------------------------


def measure_cell(
    cell: str = "lstm",
    *,
    hidden: int = 100,
    layers: int = 1,
    nonlinearity: str = "tanh",
    start: str = "",
    forget_bias: float = 1.0,
    steps: int = 35,
    batch: int = 16,
    seed: int = 1,
    weights: bool = False,
    name: str = "",
) -> GradientReport:
    """Gradients by lag and Jacobians of fresh cells.

    The inputs are Gaussian, H wide, and an error of random direction and length one enters at every
    step, so that norms are those of one step's error k steps before.

    Args:
        cell, nonlinearity, forget_bias: as of `Cell`.
        hidden: H. layers: cells one above the other.
        start: initial recurrent weights, see `initialisation`; empty for the cell's default.
        steps: T. batch: B. seed: of all random numbers; torch's own are left alone.
        weights: also the share of each lag in the gradient of the recurrent weights.

    Raises:
        SettingError: an unknown name, or numbers below 1 (steps: below 2).
    """
    _check(hidden=(hidden, 1), layers=(layers, 1), steps=(steps, 2), batch=(batch, 1))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        cells = [
            Cell(cell, hidden, hidden, nonlinearity=nonlinearity, forget_bias=forget_bias)
            for _ in range(layers)
        ]
        for part in cells if start else []:
            initialise(part.state_weight, start)
        x, errors = torch.randn(2, steps, batch, hidden)
        errors = errors / errors.norm(dim=-1, keepdim=True)
        stack = Stack(tuple((part,) for part in cells))
        traced = stack.trace(x)
        lags = count_lags(stack, traced, Entering(errors), weights=weights)
        reports = _jacobian_reports(stack, stack.trace(x[:, :_SENTENCES]))
    settings = {"cell": cell, "hidden": hidden, "layers": layers, "nonlinearity": nonlinearity,
                "start": start, "forget_bias": forget_bias, "steps": steps, "batch": batch,
                "seed": seed}  # fmt: skip
    return GradientReport(name or cell, lags, reports, settings)


def compare_cells(
    names: Sequence[str] = tuple(CELLS), **settings: Any
) -> dict[str, GradientReport]:
    """Measure fresh cells of one size: a plain one, and remedies of vanishing gradients.

    Args:
        names: of `CELLS`.
        **settings: of `measure_cell`, the same for all.

    Raises:
        SettingError: an unknown name.
    """
    unknown = [name for name in names if name not in CELLS]
    if unknown:
        raise SettingError(f"there is no cell '{unknown[0]}', known are {'; '.join(CELLS)}")
    return {name: measure_cell(**{**settings, **CELLS[name]}, name=name) for name in names}
