"""A watch on the gradients of any training loop, this project's and other people's.

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
layers and ``batch_first`` included) and every `Cell`. Now and then it notes what such a module was
called with and which error came back into its output, and carries that error back by lag, see
`lags`. Lags count from the step at which an error enters the module. It draws no random numbers and
changes no gradient.
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
from unrolled.gradients import findings
from unrolled.gradients.adjoint import Entering
from unrolled.gradients.calls import Call, call_of
from unrolled.gradients.jacobians import growth
from unrolled.gradients.lags import count_lags
from unrolled.gradients.monitor_view import MonitorView
from unrolled.gradients.observations import LayerState, Observation
from unrolled.gradients.omega import omega, total_errors
from unrolled.gradients.stacks import Stack, opened
from unrolled.gradients.tangents import Tangent
from unrolled.neural.cells import Cell
from unrolled.storage.atomic import check_target

_KINDS = (Cell, nn.RNN, nn.LSTM, nn.GRU)
_GATES = {"elman": ("state",), "irnn": ("state",), "lstm": ("enter", "forget", "new", "out"),
          "gru": ("reset", "update", "new")}  # fmt: skip


class _Note:
    """One call of a module, and the errors that came back."""

    def __init__(self, name: str, module: nn.Module, call: Call) -> None:
        self.name, self.module, self.call = name, module, call
        self.errors: Tensor | None = None
        self.last: dict[int, Tensor] = {}  # 0: of the last h, 1: of the last c

    def take(self, error: Tensor | None) -> None:
        """dE/dy has come back; of several losses, derived one by one, they add up."""
        if error is not None:
            self.errors = error.detach() if self.errors is None else self.errors + error.detach()

    def take_last(self, part: int, error: Tensor | None) -> None:
        """dE/d(last state) has come back."""
        if error is not None:
            known = self.last.get(part)
            self.last[part] = error.detach() if known is None else known + error.detach()


class _Hook:
    """Tells the monitor of a module's calls. Copies of the model, and pickles, are not watched."""

    def __init__(self, monitor: GradientMonitor, name: str) -> None:
        self.monitor, self.name = monitor, name

    def __call__(self, module: nn.Module, arguments: Any, options: Any, output: Any) -> None:
        self.monitor.note(self.name, module, arguments, options, output)

    def __reduce__(self) -> Any:
        return _unwatched, ()


def _unwatched() -> Callable[..., None]:
    return _ignore


def _ignore(*_: Any) -> None:
    """The hook of a copy."""


class GradientMonitor:
    """Watches a model's gradients while it is trained; see the module's text for the three lines.

    Args:
        model: any module.
        every: steps from one look to the next. It grows by itself where looks would take more than
            ``budget`` of the time.
        record: file that gets one line of JSON for each look.
        append: go on with that file instead of beginning it anew.
        live: show the last look in the terminal (on stderr), or as plain lines where that is none;
            or a view that is there already.
        step: number of the first update, where training goes on.
        clip_norm: the norm at which the loop clips, to count how often it does.
        sentences, sources: how many sentences and how many steps' errors are carried back at most.
        budget: share of the time that looks may take; 0 for any.
        watch: called with each observation.

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
        watch: Callable[[Observation], None] | None = None,
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
        self.last: Observation | None = None
        self._least, self._sentences, self._sources = every, sentences, sources
        self._watch = watch
        self._notes: dict[str, _Note] = {}
        self._vectors: dict[str, Tensor] = {}  # that `growth` goes on with
        self._norms: list[float | Tensor] = []
        self._first = self._step = self._next = step
        self._began = self._looked = time.perf_counter()
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
        self._notes.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.view is not None:
            self.view.close()

    # -- what happens in the loop ----------------------------------------------------------------

    def step(self, norm: float | Tensor | None = None) -> Observation | None:
        """To be called once an update, after backward and before the gradients are dropped.

        Args:
            norm: of the whole gradient before clipping, as ``clip_grad_norm_`` returns it. With it
                clipping is counted at every update, and may have been done already.

        Returns:
            The observation, if this step was one to look at.
        """
        if norm is not None:
            self._norms.append(norm.detach() if isinstance(norm, Tensor) else norm)
        found = None
        if self._due:
            found = self._look(norm)
            self._next = self._step + self.every
        self._step += 1
        self._notes.clear()
        return found

    @property
    def _due(self) -> bool:
        return self._step >= self._next

    def _hooked(self) -> list[Any]:
        handles = []
        for name, module in self.model.named_modules():
            if isinstance(module, _KINDS):
                try:
                    opened(module)
                except SettingError as error:
                    warnings.warn(f"{name or 'the model'}: {error}", UnrolledWarning, stacklevel=3)
                    continue
                hook = _Hook(self, name or type(module).__name__)
                handles.append(module.register_forward_hook(hook, with_kwargs=True))
        if not handles:
            warnings.warn(
                "the model has no recurrent layer that the monitor knows (torch.nn.RNN, LSTM, GRU, "
                "Cell), so only norms of gradients are watched",
                UnrolledWarning,
                stacklevel=3,
            )
        return handles

    def note(self, name: str, module: nn.Module, arguments: Any, options: Any, output: Any) -> None:
        """A recurrent module was called; what comes back into its output will be noted."""
        if not self._due or not torch.is_grad_enabled():
            return
        y = output[0].data if isinstance(output[0], PackedSequence) else output[0]
        if not y.requires_grad or options.get("depth") == 1:
            return
        note = _Note(name, module, call_of(module, arguments, options))
        known = self._notes.get(name)
        if known is not None and known.call.x.shape[0] > note.call.x.shape[0]:
            return  # of several calls the longest tells most
        self._notes[name] = note
        y.register_hook(note.take)
        for part, tensor in enumerate(_last_states(module, output)):
            if tensor.requires_grad:
                tensor.register_hook(partial(note.take_last, part))

    # -- a look ------------------------------------------------------------------------------------

    @torch.no_grad()
    def _look(self, norm: float | Tensor | None) -> Observation:
        begin = time.perf_counter()
        norms = _parameter_norms(self.model)
        total = math.hypot(*norms.values())
        if norm is not None:  # the gradients may be clipped by now; they were so much larger
            whole = float(norm)
            scale = whole / total if total > 0 else 1.0
            norms, total = {name: value * scale for name, value in norms.items()}, whole
        else:
            self._norms.append(total)
        layers, words = [], []
        if not math.isfinite(total):
            bad = [name for name, value in norms.items() if not math.isfinite(value)]
            words.append("the gradient is not finite: " + ", ".join(bad[:3] or ["the norm"]))
        for note in self._notes.values():
            if note.errors is not None or note.last:
                found, said = self._of_note(note)
                layers += found
                words += said
        clipped = self._clipped()
        words += findings.of_clipping(clipped or 0)
        now = time.perf_counter()
        self._spent += now - begin
        elapsed = now - self._began
        observation = Observation(
            step=self._step, seconds=elapsed, norm=total, clipped=clipped, parameters=norms,
            layers=layers, findings=words, cost=self._spent / max(elapsed, 1e-9),
        )  # fmt: skip
        self._tell(observation)
        self._spent += time.perf_counter() - now
        self._adapt(begin)
        return observation

    def _tell(self, observation: Observation) -> None:
        self.last = observation
        if self._file is not None:
            self._file.write(observation.json() + "\n")
            self._file.flush()
        if self.view is not None:
            self.view.show(observation)
        if self._watch is not None:
            self._watch(observation)

    def _adapt(self, begin: float) -> None:
        """Look less often where looks take more of the time than they may."""
        now = time.perf_counter()
        between, took = begin - self._looked, now - begin
        self._looked = now
        if self.budget and self._step > self._first and took > self.budget * between:
            times = min(took / (self.budget * max(between, 1e-9)), 10.0)
            self.every = math.ceil(self.every * times)
        elif self.every > self._least and took * 4 < self.budget * between:
            self.every = max(self._least, self.every // 2)

    def _clipped(self) -> float | None:
        """Share of the updates since the last look whose norm was beyond the limit."""
        known = [float(value) for value in self._norms]
        self._norms.clear()
        if not self.clip_norm or not known:
            return None
        return sum(value > self.clip_norm for value in known) / len(known)

    def _of_note(self, note: _Note) -> tuple[list[LayerState], list[str]]:
        """The layers of one module."""
        stack = opened(note.module)
        batch = note.call.x.shape[1]
        some = slice(None, None, -(-batch // self._sentences))
        entering = note.call.entering(note.errors, _last_errors(note, stack)).some(some)
        present = entering.mask().any(1).nonzero().squeeze(1)
        if len(present) > self._sources:  # spread evenly, the last one included
            places = torch.linspace(0, len(present) - 1, self._sources).round().long()
            present = present[places.to(present.device)]
        traced = note.call.some(some).trace(stack)
        lags = count_lags(stack, traced, entering, sources=present, highway=False)
        layers: list[LayerState] = []
        words: list[str] = []
        tangents = [tangent for layer in traced for tangent in layer]
        cells = [cell for layer in stack.layers for cell in layer]
        plain = stack.layers[-1][0].kind in ("elman", "irnn")
        last = len(tangents) - len(stack.layers[-1]) if plain else -1
        for number, (layer, tangent, cell) in enumerate(
            zip(lags.layers, tangents, cells, strict=True)
        ):
            layer.name = note.name if len(tangents) == 1 else f"{note.name}, {layer.name}"
            state = LayerState(
                layer.name, layer.record()["norms"], layer.record()["shares"], layer.reach,
                self._radii(layer.name, tangent, cell), tangent.saturated(), tangent.dead(),
                _omega(entering, tangent, number) if number == last else None,
            )  # fmt: skip
            layers.append(state)
            words += findings.of_lags(layer)
            words += findings.of_units(state.name, state.dead, state.saturated)
        return layers, words

    def _radii(self, name: str, tangent: Tangent, cell: Cell) -> dict[str, float]:
        radii = {}
        blocks = tangent.weight.split(cell.hidden)
        for gate, block in zip(_GATES[cell.kind], blocks, strict=True):
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
    errors = total_errors(immediate, tangent.slopes(), tangent.weight)
    return float(omega(tangent.weight, tangent.slopes(), errors))


def _last_states(module: nn.Module, output: Any) -> tuple[Tensor, ...]:
    """The last states that a module gave beside its outputs, where they are not parts of them."""
    if isinstance(module, Cell):
        # The last state of an Elman cell is a row of its outputs, whose error has it already.
        return tuple(output[1]) if module.kind in ("lstm", "gru") else ()
    return output[1] if isinstance(output[1], tuple) else (output[1],)


def _last_errors(note: _Note, stack: Stack) -> list[tuple[Tensor | None, ...]]:
    """Errors of the last states by layer and direction, in as many parts as a state has."""
    if not note.last:
        return []
    parts = stack.layers[0][0].states
    found: list[tuple[Tensor | None, ...]] = []
    for number in range(len(stack.names)):
        row: list[Tensor | None] = []
        for part in range(parts):
            error = note.last.get(part)
            if error is not None and not isinstance(note.module, Cell):
                error = note.call.last_parts(error)[number]
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
