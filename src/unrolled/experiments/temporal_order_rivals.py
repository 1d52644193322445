"""Other cures on temporal order: gates, the identity, curvature, and no training at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.experiments.temporal_order import (
    ANSWERS,
    SOLVED,
    SYMBOLS,
    Settings,
    sequences,
    summary,
)
from unrolled.gradients.clipping import clip_by_norm
from unrolled.gradients.echo_state import EchoStateNetwork
from unrolled.gradients.hessian_free import HessianFree
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import initialise

# Rates of Adam, found by trying a few at length 50.
_RATES = {"lstm": 3e-3, "irnn": 3e-4}
_HF_SEQUENCES, _HF_CURVATURE, _HF_CG = 1000, 250, 50
_ECHO_UNITS, _ECHO_SEQUENCES = 10, 5000  # units for each unit of the other nets


class Reader(nn.Module):
    """A cell that reads symbols and answers at the end."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.cell = Cell(kind, SYMBOLS, hidden)
        self.output = nn.Linear(hidden, ANSWERS)

    def forward(self, x: Tensor, *, fused: bool = True) -> tuple[Tensor, Tensor]:
        """Answers' scores (B, 4) and states (T, B, H) of symbols (T, B)."""
        vectors = nn.functional.one_hot(x, SYMBOLS).to(self.cell.bias.dtype)
        start = tuple(
            vectors.new_zeros(x.shape[1], self.cell.hidden) for _ in range(self.cell.states)
        )
        go = self.cell.run_fused if fused else self.cell.run_unrolled
        states, _ = go(vectors, start)
        return self.output(states[-1]), states


def all_of(length: int, settings: Settings, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every rival at one length."""
    methods: dict[str, Callable[[int, int, Settings], dict[str, Any]]] = {
        "LSTM": lambda *given: by_adam("lstm", *given),
        "IRNN": lambda *given: by_adam("irnn", *given),
        "Hessian-free": lambda *given: by_curvature(0.0, *given),
        "Hessian-free, structural damping": lambda *given: by_curvature(0.1, *given),
        "echo state": by_echo,
    }
    rows = []
    for name, method in methods.items():
        runs = []
        for seed in range(settings.rival_seeds):
            found = method(length, seed, settings)
            runs.append({"seed": seed, **found})
            wrong = f"{100 * found['error']:.1f} % wrong after {found['updates']} updates"
            report(f"length {length}, {name}, seed {seed}: {wrong}")
        rows.append(summary(name, length, runs))
    return rows


def by_adam(kind: str, length: int, seed: int, settings: Settings) -> dict[str, Any]:
    """A gated cell or an IRNN by Adam, clipped at norm 1."""
    torch.manual_seed(seed)
    net = Reader(kind, settings.hidden)
    optimiser = torch.optim.Adam(net.parameters(), lr=_RATES[kind])
    random = torch.Generator().manual_seed(1000 + seed)
    error, update = 1.0, 0
    while error >= SOLVED and update < settings.updates:
        update += 1
        x, y = _batch(length, 20, random)
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(x)[0], y))
        clip_by_norm([p.grad for p in net.parameters() if p.grad is not None], 1.0)
        optimiser.step()
        if update % settings.check == 0 or update == settings.updates:
            error = _error(net, length, settings, random)
    return {"updates": update, "error": error, "solved": error < SOLVED}


def by_curvature(structural: float, length: int, seed: int, settings: Settings) -> dict[str, Any]:
    """An Elman net by Hessian-free optimisation, fresh sequences for every step."""
    torch.manual_seed(seed)
    net = Reader("elman", settings.hidden)
    initialise(net.cell.state_weight, "sparse", scale=1.1)  # as Martens and Sutskever start
    optimiser = HessianFree(net, damping=0.1, structural=structural, cg_steps=_HF_CG)
    random = torch.Generator().manual_seed(1000 + seed)
    # One of its updates costs as much as some hundreds of gradient descent's.
    most = max(settings.updates // 200, 2)
    error, update = 1.0, 0
    while error >= SOLVED and update < most:
        update += 1
        optimiser.step(
            _closure(net, *_batch(length, _HF_SEQUENCES, random)),
            _closure(net, *_batch(length, _HF_CURVATURE, random)),
        )
        if update % 5 == 0 or update == most:
            error = _error(net, length, settings, random)
    return {"updates": update, "error": error, "solved": error < SOLVED}


def _closure(net: Reader, x: Tensor, y: Tensor) -> Callable[[], tuple[Tensor, Any, Tensor]]:
    def closure() -> tuple[Tensor, Any, Tensor]:
        scores, states = net(x, fused=False)
        return scores, lambda z: nn.functional.cross_entropy(z, y), states

    return closure


def by_echo(length: int, seed: int, settings: Settings) -> dict[str, Any]:
    """A reservoir whose last state is read out; nothing else is trained."""
    random = torch.Generator().manual_seed(1000 + seed)
    net = EchoStateNetwork(
        _ECHO_UNITS * settings.hidden, spectral_radius=1.0, reservoir="cycle", input_scale=0.01,
        bias_scale=0.0, ridge=1e-10, last=True, washout=0, seed=seed,
    )  # fmt: skip
    eye = torch.eye(SYMBOLS, dtype=torch.float64)
    for _ in range(_ECHO_SEQUENCES // 500):
        x, y = _batch(length, 500, random)
        net.partial_fit(eye[x.T].numpy(), nn.functional.one_hot(y, ANSWERS).numpy())
    wrong = tested = 0
    while tested < settings.fresh:
        x, y = _batch(length, 500, random)
        found = net.predict(eye[x.T].numpy()).argmax(1)
        wrong += int((torch.from_numpy(found) != y).sum())
        tested += len(y)
    return {"updates": 1, "error": wrong / tested, "solved": wrong / tested < SOLVED}


def _batch(length: int, size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Symbols (T, B) and answers (B,)."""
    x, y = sequences(length, (1, size), random)
    return x[0], y[0]


@torch.no_grad()
def _error(net: Reader, length: int, settings: Settings, random: torch.Generator) -> float:
    """Share of wrong answers on fresh sequences; the first tenth of them may settle it."""
    wrong = tested = 0
    while tested < settings.fresh:
        x, y = _batch(length, max(settings.fresh // 10, 1), random)
        wrong += int((net(x)[0].argmax(1) != y).sum())
        tested += len(y)
        if wrong / tested > 2 * SOLVED:
            break
    return wrong / tested
