"""A monitor of the gradients in any PyTorch training loop.

Three lines around a plain PyTorch loop:

>>> class Tagger(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.rnn, self.tags = nn.LSTM(3, 8, bidirectional=True), nn.Linear(16, 2)
...     def forward(self, x):
...         return self.tags(self.rnn(x)[0])
>>> model = Tagger()
>>> optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
>>> monitor = GradientMonitor(model, clip_norm=1.0)  # record="gradients.jsonl", live=True
>>> for x in torch.randn(3, 20, 4, 3):
...     optimiser.zero_grad()
...     model(x).square().mean().backward()
...     norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
...     seen = monitor.step(norm)
...     optimiser.step()
>>> monitor.close()
>>> monitor.last.layers[0].name, len(monitor.last.layers[0].norms)
('rnn, layer 1', 20)

It finds every torch.nn.RNN, LSTM and GRU of the model (packed sequences, both directions, several
layers and ``batch_first`` included) and every `Cell`. Every few steps it records the input of such
a module and the error of its output, and propagates that error back by lag, see `lags`. Lags count
from the step at which an error enters the module. It draws no random numbers and changes no
gradient.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import SettingError, UnrolledWarning
from unrolled.gradients import diagnostics
from unrolled.gradients.adjoint import Entering
from unrolled.gradients.calls import Call, call_of
from unrolled.gradients.diagnostics import LayerState, Snapshot
from unrolled.gradients.jacobians import growth
from unrolled.gradients.lags import count_lags
from unrolled.gradients.monitor_view import MonitorView
from unrolled.gradients.omega import omega, total_errors
from unrolled.gradients.stacks import Stack, stack_of
from unrolled.gradients.tangents import Tangent
from unrolled.neural.cells import Cell
from unrolled.storage.atomic import check_target

_KINDS = (Cell, nn.RNN, nn.LSTM, nn.GRU)


class _Call:
    """One call of a module, and the errors of its outputs and last states."""

    def __init__(self, name: str, module: nn.Module, call: Call) -> None:
        self.name, self.module, self.call = name, module, call
        self.errors: dict[int | None, Tensor] = {}  # None: of y; 0: of the last h, 1: of the last c

    def add_error(self, part: int | None, error: Tensor | None) -> None:
        """Record dE/dy or dE/d(last state); those of several losses add up."""
        if error is not None:
            known = self.errors.get(part)
            self.errors[part] = error.detach() if known is None else known + error.detach()


class _Hook:
    """Reports a module's calls to the monitor. Copies of the model, and pickles, do nothing."""

    def __init__(self, monitor: GradientMonitor, name: str) -> None:
        self.monitor, self.name = monitor, name

    def __call__(self, module: nn.Module, arguments: Any, options: Any, output: Any) -> None:
        self.monitor.record_call(self.name, module, arguments, options, output)

    def __reduce__(self) -> Any:
        return partial, (_ignore,)


def _ignore(*_: Any) -> None:
    """The hook of a copy."""


class GradientMonitor:
    """Monitors a model's gradients while it is trained; see the module's docstring for an example.

    Args:
        model: any module.
        every: steps from one snapshot to the next. It grows by itself if snapshots take more than
            ``budget`` of the time.
        record: JSON lines file, one line a snapshot. append: to that file instead of rewriting it.
        live: show the last snapshot on stderr, in place on a terminal, else as plain lines; or a
            `MonitorView` to show it in.
        step: number of the first update, where training is resumed.
        clip_norm: the norm at which the loop clips, to count how often it does.
        sentences, sources: most sentences, and most steps whose errors are propagated.
        budget: share of the time that snapshots may take; 0 for any.
        watch: called with each snapshot.

    Raises:
        SettingError: numbers that are not allowed.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int = 50,
        record: str | Path | None = None,
        append: bool = False,
        live: bool | MonitorView = False,
        step: int = 0,
        clip_norm: float = 0.0,
        sentences: int = 8,
        sources: int = 32,
        budget: float = 0.05,
        watch: Callable[[Snapshot], None] | None = None,
    ) -> None:
        for name, value in (("every", every), ("sentences", sentences), ("sources", sources)):
            if value < 1:
                raise SettingError(f"{name} is {value}, allowed are 1 and more")
        if not 0 <= budget < 1 or clip_norm < 0:
            raise SettingError(
                f"budget is {budget} and clip_norm {clip_norm}, allowed are 0 to below 1, and 0 "
                "and more"
            )
        self.model, self.every, self.clip_norm, self.budget = model, every, clip_norm, budget
        self.last: Snapshot | None = None
        self._least, self._sentences, self._sources = every, sentences, sources
        self._watch = watch
        self._calls: dict[str, _Call] = {}
        self._vectors: dict[str, Tensor] = {}  # of earlier calls of `growth`
        self._norms: list[float | Tensor] = []
        self._first = self._step = self._next = step
        self._began = self._measured = time.perf_counter()
        self._spent = 0.0
        self._file: IO[str] | None = None
        if record is not None:
            check_target(str(record))
            mode = "a" if append else "w"
            self._file = Path(record).open(mode, encoding="utf-8")  # noqa: SIM115
        self.view = MonitorView() if live is True else live or None
        self._handles = self._hooked()

    def __enter__(self) -> GradientMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the hooks off the model, and end the record and the live view."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._calls.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.view is not None:
            self.view.close()

    def step(self, norm: float | Tensor | None = None) -> Snapshot | None:
        """Call this once an update, after backward and before the gradients are zeroed.

        Args:
            norm: of the whole gradient before clipping, as ``clip_grad_norm_`` returns it. It
                counts clipping at every update, and allows for clipping before this call.

        Returns:
            The snapshot, if this step had one.
        """
        if norm is not None:
            self._norms.append(norm.detach() if isinstance(norm, Tensor) else norm)
        found = None
        if self._due:
            found = self._measure(norm)
            self._next = self._step + self.every
        self._step += 1
        self._calls.clear()
        return found

    @property
    def _due(self) -> bool:
        return self._step >= self._next

    def _hooked(self) -> list[Any]:
        handles = []
        for name, module in self.model.named_modules():
            if isinstance(module, _KINDS):
                try:
                    stack_of(module)
                except SettingError as error:
                    warnings.warn(f"{name or 'the model'}: {error}", UnrolledWarning, stacklevel=3)
                    continue
                hook = _Hook(self, name or type(module).__name__)
                handles.append(module.register_forward_hook(hook, with_kwargs=True))
        if not handles:
            warnings.warn(
                "the model has no recurrent layer that the monitor supports (torch.nn.RNN, LSTM, "
                "GRU, Cell), so only norms of gradients are recorded",
                UnrolledWarning,
                stacklevel=3,
            )
        return handles

    def record_call(
        self, name: str, module: nn.Module, arguments: Any, options: Any, output: Any
    ) -> None:
        """Record a call of a recurrent module, and later the error of its output."""
        if not self._due or not torch.is_grad_enabled():
            return
        y = output[0].data if isinstance(output[0], PackedSequence) else output[0]
        if not y.requires_grad or options.get("depth") == 1:
            return
        call = _Call(name, module, call_of(module, arguments, options))
        known = self._calls.get(name)
        if known is not None and known.call.x.shape[0] > call.call.x.shape[0]:
            return  # of several calls the longest is measured
        self._calls[name] = call
        y.register_hook(partial(call.add_error, None))
        for part, tensor in enumerate(_last_states(module, output)):
            if tensor.requires_grad:
                tensor.register_hook(partial(call.add_error, part))

    @torch.no_grad()
    def _measure(self, norm: float | Tensor | None) -> Snapshot:
        begin = time.perf_counter()
        norms = _parameter_norms(self.model)
        total = math.hypot(*norms.values())
        if norm is not None:  # the gradients may be clipped by now: undo it
            whole = float(norm)
            scale = whole / total if total > 0 else 1.0
            norms, total = {name: value * scale for name, value in norms.items()}, whole
        else:
            self._norms.append(total)
        layers, words = [], []
        if not math.isfinite(total):
            bad = [name for name, value in norms.items() if not math.isfinite(value)]
            words.append("the gradient is not finite: " + ", ".join(bad[:3] or ["the norm"]))
        for call in self._calls.values():
            if call.errors:
                found, more = self._layers_of(call)
                layers += found
                words += more
        clipped = self._clipped()
        words += diagnostics.of_clipping(clipped or 0)
        now = time.perf_counter()
        self._spent += now - begin
        elapsed = now - self._began
        snapshot = Snapshot(
            step=self._step, seconds=elapsed, norm=total, clipped=clipped, parameters=norms,
            layers=layers, diagnostics=words, cost=self._spent / max(elapsed, 1e-9),
        )  # fmt: skip
        self._publish(snapshot)
        self._spent += time.perf_counter() - now
        self._adapt(begin)
        return snapshot

    def _publish(self, snapshot: Snapshot) -> None:
        self.last = snapshot
        if self._file is not None:
            self._file.write(snapshot.json() + "\n")
            self._file.flush()
        if self.view is not None:
            self.view.show(snapshot)
        if self._watch is not None:
            self._watch(snapshot)

    def _adapt(self, begin: float) -> None:
        """Measure less often if snapshots exceed the budget."""
        now = time.perf_counter()
        between, took = begin - self._measured, now - begin
        self._measured = now
        if self.budget and self._step > self._first and took > self.budget * between:
            times = min(took / (self.budget * max(between, 1e-9)), 10.0)
            self.every = math.ceil(self.every * times)
        elif self.every > self._least and took * 4 < self.budget * between:
            self.every = max(self._least, self.every // 2)

    def _clipped(self) -> float | None:
        """Share of the updates since the last snapshot whose norm was above the limit."""
        known = [float(value) for value in self._norms]
        self._norms.clear()
        if not self.clip_norm or not known:
            return None
        return sum(value > self.clip_norm for value in known) / len(known)

    def _layers_of(self, call: _Call) -> tuple[list[LayerState], list[str]]:
        """The layers of one module."""
        stack = stack_of(call.module)
        batch = call.call.x.shape[1]
        some = slice(None, None, -(-batch // self._sentences))
        last_errors = _last_errors(call, stack)
        entering = call.call.entering(call.errors.get(None), last_errors).some(some)
        present = entering.mask().any(1).nonzero().squeeze(1)
        if len(present) > self._sources:  # spread evenly, the last one included
            places = torch.linspace(0, len(present) - 1, self._sources).round().long()
            present = present[places.to(present.device)]
        traced = call.call.some(some).trace(stack)
        lags = count_lags(stack, traced, entering, sources=present, highway=False)
        layers: list[LayerState] = []
        words: list[str] = []
        tangents = [tangent for layer in traced for tangent in layer]
        plain = stack.layers[-1][0].kind in ("elman", "irnn")
        last = len(tangents) - len(stack.layers[-1]) if plain else -1
        for number, (layer, tangent) in enumerate(zip(lags.layers, tangents, strict=True)):
            layer.name = call.name if len(tangents) == 1 else f"{call.name}, {layer.name}"
            state = LayerState(
                layer.name, layer.record()["norms"], layer.record()["shares"], layer.reach,
                self._radii(layer.name, tangent), tangent.saturated(), tangent.dead(),
                _omega(entering, tangent, number) if number == last else None,
            )  # fmt: skip
            layers.append(state)
            words += diagnostics.of_lags(layer)
            words += diagnostics.of_units(state.name, state.dead, state.saturated)
        return layers, words

    def _radii(self, name: str, tangent: Tangent) -> dict[str, float]:
        radii = {}
        for gate, block in tangent.gate_weights().items():
            key = f"{name}/{gate}"
            radii[gate], self._vectors[key] = growth(block, self._vectors.get(key))
        return radii


def _omega(entering: Entering, tangent: Tangent, number: int) -> float:
    """Omega of the last layer's forward direction."""
    hidden = tangent.states.shape[-1]
    immediate = entering.outputs[..., :hidden].clone()
    (error,) = entering.last[number] if entering.last else (None,)
    if error is not None:
        sentences = torch.arange(len(error), device=error.device)
        immediate[entering.ends(number), sentences] += error
    errors = total_errors(immediate, tangent.slopes, tangent.weight)
    return float(omega(tangent.weight, tangent.slopes, errors))


def _last_states(module: nn.Module, output: Any) -> tuple[Tensor, ...]:
    """The last states that a module returned, where they are not rows of its outputs."""
    if isinstance(module, Cell):
        # The last state of an Elman cell is a row of its outputs, whose error has it already.
        return tuple(output[1]) if module.kind in ("lstm", "gru") else ()
    return output[1] if isinstance(output[1], tuple) else (output[1],)


def _last_errors(call: _Call, stack: Stack) -> list[tuple[Tensor | None, ...]]:
    """Errors of the last states by layer and direction, in as many parts as a state has."""
    if not call.errors.keys() - {None}:
        return []
    parts = stack.layers[0][0].states
    found: list[tuple[Tensor | None, ...]] = []
    for number in range(len(stack.names)):
        row: list[Tensor | None] = []
        for part in range(parts):
            error = call.errors.get(part)
            if error is not None and not isinstance(call.module, Cell):
                error = call.call.last_parts(error)[number]
            row.append(error)
        found.append(tuple(row))
    return found


def _parameter_norms(model: nn.Module) -> dict[str, float]:
    """Norm of every gradient there is."""
    names, gradients = [], []
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad.detach()
            names.append(name)
            gradients.append(grad.coalesce().values() if grad.is_sparse else grad)
    if not gradients:
        return {}
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(gradients)])
    return dict(zip(names, norms.tolist(), strict=True))
