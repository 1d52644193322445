"""All that the laboratory knows of a trained net on a text, or of fresh cells side by side.

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
from torch import Tensor

from unrolled.errors import SettingError, TextError
from unrolled.gradients.adjoint import Entering
from unrolled.gradients.by_lag import GradientLags, LayerLags
from unrolled.gradients.findings import of_lags, of_units
from unrolled.gradients.jacobians import JacobianReport, report_of, some_steps
from unrolled.gradients.lags import NetTrace, count_lags, trace_net
from unrolled.gradients.stacks import Stack
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import initialise
from unrolled.neural.net import RecurrentNet, build_net
from unrolled.neural.streams import Batch, by_sentence, contiguous_batches, steps_of

if TYPE_CHECKING:
    from unrolled.neural.model import NeuralModel
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]

_SENTENCES = 2  # whose Jacobians are looked at
# Fresh cells to set beside each other: name -> kind and settings of `measure_cell`.
CURES: dict[str, dict[str, Any]] = {
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
        settings: what was looked at: steps, batch, batches and so on.
        loss: mean of -log p of a word, None for cells without one.
    """

    name: str
    lags: GradientLags
    jacobians: list[JacobianReport]
    settings: dict[str, Any]
    loss: float | None = None

    def findings(self) -> list[str]:
        """What is worth saying, in words."""
        found = []
        for layer, jacobian in zip(self.lags.layers, self.jacobians, strict=True):
            reached = f"{layer.name}: gradients reach the longest lag, {len(layer.norms) - 1}"
            found += of_lags(layer) or [reached]
            found.append(_radius_line(jacobian))
            found += of_units(layer.name, jacobian.dead, jacobian.saturated)
        return found

    def table(self) -> str:
        """A table for each layer, columns two spaces apart.

        norm is the mean of |dE_t/dh_{t-k}|, share its part of the sum over all pairs, beyond what
        longer lags have; of dU is the lag's share of the recurrent weights' gradient, if that was
        asked for. |J| is the mean spectral norm of k steps' Jacobians, with its bound.
        """
        parts = []
        shares = self.lags.weight_shares()
        several = len(self.lags.layers) > 1
        pairs = zip(self.lags.layers, self.jacobians, strict=True)
        for number, (layer, jacobian) in enumerate(pairs):
            of_weights = shares[number] if shares else None
            rows = [_head(layer, of_weights), *_rows(layer, jacobian, of_weights)]
            widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
            title = [layer.name] if several else []
            lines = [
                "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
                for row in rows
            ]
            parts.append("\n".join([*title, *lines]))
        return "\n\n".join(parts)

    def record(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        shares = self.lags.weight_shares()
        layers = [
            {
                **layer.record(),
                **({"weight_shares": shares[k].tolist()} if shares else {}),
                "jacobians": jacobian.record(),
            }
            for k, (layer, jacobian) in enumerate(
                zip(self.lags.layers, self.jacobians, strict=True)
            )
        ]
        return {
            "name": self.name,
            "settings": self.settings,
            "loss": self.loss,
            "findings": self.findings(),
            "layers": layers,
        }


def _radius_line(jacobian: JacobianReport) -> str:
    radii = ", ".join(
        f"{radius:.2f}" + ("" if len(jacobian.radii) == 1 else f" ({gate})")
        for gate, radius in jacobian.radii.items()
    )
    saturated = ", ".join(
        f"{100 * share:.0f} %" + ("" if len(jacobian.saturated) == 1 else f" ({gate})")
        for gate, share in jacobian.saturated.items()
    )
    return (
        f"{jacobian.name}: spectral radius {radii}; spectral norm {jacobian.beta_weight:.2f}; "
        f"saturated {saturated}; dead units {100 * jacobian.dead:.0f} %"
    )


def _head(layer: LayerLags, of_weights: Array | None) -> list[str]:
    more = [] if of_weights is None else ["of dU"]
    more += [] if layer.cell_norms is None else ["cell"]
    more += [] if layer.highway_norms is None else ["highway"]
    return ["lag", "norm", "share", "beyond", *more, "|J|", "bound"]


def _rows(layer: LayerLags, jacobian: JacobianReport, of_weights: Array | None) -> list[list[str]]:
    """A row for each of the first lags, then for fewer and fewer."""
    longest = len(layer.norms) - 1
    beyond = 1 - np.cumsum(layer.shares)
    measured = dict(zip(jacobian.steps.tolist(), jacobian.norms, strict=True))
    bounds = dict(zip(jacobian.steps.tolist(), jacobian.bound, strict=True))
    shown = sorted({*range(min(longest, 6) + 1), *some_steps(max(longest, 1)), *measured})
    rows = []
    for lag in (lag for lag in shown if lag <= longest):
        more = [] if of_weights is None else [f"{100 * of_weights[lag]:.2f} %"]
        more += [
            _short(values[lag])
            for values in (layer.cell_norms, layer.highway_norms)
            if values is not None
        ]
        norm, share = _short(layer.norms[lag]), f"{100 * layer.shares[lag]:.2f} %"
        of_steps = [_short(part[lag]) if lag in part else "" for part in (measured, bounds)]
        past = f"{100 * max(beyond[lag], 0):.2f} %"
        rows.append([str(lag), norm, share, past, *more, *of_steps])
    return rows


def _short(value: float) -> str:
    return f"{value:.3g}"


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
        steps: T that errors may flow back. batch: parts of the text (or sentences, of a net of
            independent ones) side by side. batches: how many to look at, spread over the text.
        weights: also what each lag gives to the gradient of the recurrent weights.
        fresh: a seed: the same net as it may have begun, with fresh parameters, instead.

    Raises:
        SettingError: a model that is no recurrent net, or numbers below 1 (steps: below 2).
        TextError: a text that cannot be read, or is empty.
    """
    opened = _recurrent(model)
    for name, value, least in (("steps", steps, 2), ("batch", batch, 1), ("batches", batches, 1)):
        if value < least:
            raise SettingError(f"{name} is {value}, allowed are {least} and more")
    torch.set_num_threads(threads)
    net = opened.net
    if fresh is not None:
        net = _fresh(net, len(opened.vocabulary), fresh)
    assert isinstance(net, RecurrentNet)
    lags: GradientLags | None = None
    losses, state, trace = [], None, None
    for piece in _pieces(opened, sources, threads, (steps, batch, batches)):
        words, targets = (torch.from_numpy(part) for part in (piece.inputs, piece.targets))
        trace = trace_net(net, words, targets, None if piece.fresh else state)
        state = trace.after
        losses.append(trace.loss)
        found = trace.lags(weights=weights)
        lags = found if lags is None else _joined(lags, found)
    if lags is None or trace is None:
        raise TextError("the text is empty: it has no gradients", where=str(sources))
    settings = {"steps": steps, "batch": batch, "batches": len(losses)}
    loss = float(np.mean(losses))
    name = opened.name if fresh is None else f"{opened.name}, as it began"
    return GradientReport(name, lags, _jacobians(trace), settings, loss)


def _joined(total: GradientLags, found: GradientLags) -> GradientLags:
    total.add(found)
    return total


def _recurrent(model: NeuralModel | str) -> Any:
    """The model, if it is a recurrent net."""
    from unrolled.storage.model_file import load

    opened: Any = load(model) if isinstance(model, str) else model
    if not isinstance(getattr(opened, "net", None), RecurrentNet):
        raise SettingError(
            f"only recurrent nets have gradients through time, and this is {opened.name}",
            where=opened.path,
            hint="Train one with `unrolled train net`",
        )
    return opened


def _fresh(net: RecurrentNet, size: int, seed: int) -> RecurrentNet:
    """A net of the same make, with parameters as training begins with them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = build_net(net.config, size, net.class_of)
    # The output's biases begin at the words' frequencies, which the trained ones stand for.
    own = dict(net.output.named_parameters())
    with torch.no_grad():
        for name, parameter in found.output.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(own[name])
    found.eval()
    assert isinstance(found, RecurrentNet)
    return found


def _pieces(model: Any, sources: Sources, threads: int, sizes: tuple[int, int, int]) -> list[Batch]:
    """Stretches of the text side by side; those of one text go on from each other."""
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
    # A short text is cut into fewer parts, so that each is long enough to look back.
    parts = max(min(batch, found.inputs.size // steps), 1)
    return list(islice(contiguous_batches(found, parts, steps), batches))


def _jacobians(trace: NetTrace) -> list[JacobianReport]:
    some = slice(_SENTENCES)
    return [
        report_of(tangent, cell, sentences=_SENTENCES, name=name)
        for (tangent,), (cell, *_), name in zip(
            trace.tangents(some), trace.calls, trace.stack.names, strict=True
        )
    ]


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
    step, so that norms say what one step's error is worth k steps before.

    Args:
        cell, nonlinearity, forget_bias: as of `Cell`.
        hidden: H. layers: cells one above the other.
        start: how recurrent weights begin, see `initialisation`; empty for the cell's own way.
        steps: T. batch: B. seed: of all random numbers; torch's own are left alone.
        weights: also what each lag gives to the gradient of the recurrent weights.

    Raises:
        SettingError: an unknown name, or numbers below 1 (steps: below 2).
    """
    numbers = (
        ("hidden", hidden, 1),
        ("layers", layers, 1),
        ("steps", steps, 2),
        ("batch", batch, 1),
    )
    for what, value, least in numbers:
        if value < least:
            raise SettingError(f"{what} is {value}, allowed are {least} and more")
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
        lags, jacobians = _measure_stack(
            Stack(tuple((part,) for part in cells)), x, errors, weights
        )
    settings = {"cell": cell, "hidden": hidden, "layers": layers, "nonlinearity": nonlinearity,
                "start": start, "forget_bias": forget_bias, "steps": steps, "batch": batch,
                "seed": seed}  # fmt: skip
    return GradientReport(name or cell, lags, jacobians, settings)


def _measure_stack(
    stack: Stack, x: Tensor, errors: Tensor, weights: bool
) -> tuple[GradientLags, list[JacobianReport]]:
    traced = stack.trace(x)
    lags = count_lags(stack, traced, Entering(errors), weights=weights)
    reports = [
        report_of(tangent, cell, sentences=_SENTENCES, name=name)
        for (tangent,), (cell,), name in zip(traced, stack.layers, stack.names, strict=True)
    ]
    return lags, reports


def compare_cures(
    names: Sequence[str] = tuple(CURES), **settings: Any
) -> dict[str, GradientReport]:
    """Fresh cells of one size side by side: a plain one, and the cures.

    Args:
        names: of `CURES`.
        **settings: of `measure_cell`, the same for all.

    Raises:
        SettingError: an unknown name.
    """
    unknown = [name for name in names if name not in CURES]
    if unknown:
        raise SettingError(f"there is no cure '{unknown[0]}', known are {'; '.join(CURES)}")
    return {name: measure_cell(**{**settings, **CURES[name]}, name=name) for name in names}
