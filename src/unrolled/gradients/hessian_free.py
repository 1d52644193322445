"""Hessian-free optimisation: Newton steps by products with the Gauss-Newton matrix alone.

Martens 2010; for recurrent nets, with structural damping, Martens and Sutskever 2011. A step d
minimises the quadratic model g'd + d'(G + lambda (I + mu S)) d / 2 by conjugate gradient, where

g       the gradient of the loss
G       J'HJ: J the Jacobian of the net's outputs, H the Hessian of the loss by the outputs
lambda  damping, by the Levenberg-Marquardt rule
S       J_h'J_h / B: J_h the Jacobian of the hidden states; mu weighs structural damping, which
        keeps states, not only weights, from changing much

A product with G + ... is one pass forward (J v and J_h v at once), a small one in between (H J v,
by forward over reverse), and one pass back.

>>> net = torch.nn.Linear(3, 1)
>>> x, y = torch.randn(50, 3), torch.randn(50, 1)
>>> optimiser = HessianFree(net, damping=1e-3)
>>> def closure():
...     return net(x), lambda outputs: (outputs - y).square().mean()
>>> before = optimiser.step(closure)
>>> float(optimiser.step(closure)) < float(before)
True
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp

from unrolled.errors import SettingError

LossOf = Callable[[Tensor], Tensor]
# A closure gives the net's outputs, the loss as a function of them, and states (T, B, H) if
# structural damping is wanted.
Closure = Callable[[], tuple[Tensor, LossOf] | tuple[Tensor, LossOf, Tensor]]

_GROWTH = 1.3  # iterates of CG are stored at steps that grow by this factor
_SUFFICIENT = 1e-2  # share of the predicted fall that the line search asks for
_HALVINGS = 30


class HessianFree(torch.optim.Optimizer):
    """An optimiser for all parameters of one module.

    It follows torch.optim's conventions, as far as a Newton method can: ``step(closure)`` computes,
    moves the parameters and returns the loss before; ``state_dict`` holds damping and direction.
    Forward-mode products need the module, not only its parameters.

    Args:
        model: its parameters that want a gradient are trained.
        damping: lambda to start with.
        structural: mu, weight of structural damping in units of lambda; 0 for none.
        cg_steps: most steps of conjugate gradient.
        tolerance: CG ends when the model's relative progress a step falls below it.
        decay: the step before, times this, is where CG begins.

    Raises:
        SettingError: a setting out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        damping: float = 1.0,
        structural: float = 0.0,
        cg_steps: int = 100,
        tolerance: float = 5e-4,
        decay: float = 0.95,
    ) -> None:
        if not 0 < damping < math.inf:
            raise SettingError(f"damping is {damping}, allowed are numbers above 0")
        if not 0 <= structural < math.inf:
            raise SettingError(f"structural is {structural}, allowed are 0 and more")
        if cg_steps < 1 or not 0 < tolerance < 1 or not 0 <= decay <= 1:
            raise SettingError(
                f"cg_steps is {cg_steps}, tolerance {tolerance} and decay {decay}, allowed are 1 "
                "and more, between 0 and 1, and 0 to 1"
            )
        self._model = model
        self._named = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        if not self._named:
            raise SettingError("the model has no parameters to train")
        settings = {
            "damping": damping, "structural": structural, "cg_steps": cg_steps,
            "tolerance": tolerance, "decay": decay,
        }  # fmt: skip
        super().__init__(self._named.values(), settings)
        flat = self._flat()
        # As torch's LBFGS does, the state of all parameters is stored with the first.
        self._shared.update(damping=float(damping), direction=torch.zeros_like(flat), cg_steps=0)

    @property
    def _shared(self) -> dict[str, Any]:
        shared: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        return shared

    @property
    def damping(self) -> float:
        """Lambda now."""
        return float(self._shared["damping"])

    def step(self, closure: Closure, curvature: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Move the parameters once.

        Args:
            closure: runs the model and returns (outputs, loss_of) or (outputs, loss_of, states);
                ``loss_of(outputs)`` is the scalar to minimise; states are (T, B, H).
            curvature: the same on other, usually less, data, for the products with G alone.

        Returns:
            The loss before the step.

        Raises:
            SettingError: structural damping without states, or a loss that is no number.
        """
        settings = self.param_groups[0]
        point = self._flat()
        run, loss_of = self._functional(closure, settings["structural"] > 0)
        bound = Curvature(run, loss_of, point)
        loss = bound.loss
        if not bool(torch.isfinite(loss)):
            raise SettingError(
                f"the loss is {float(loss)} before the step, and it must be a number",
                hint="Start with smaller weights, or with more damping",
            )
        gradient = bound.gradient()
        if curvature is not None:
            bound = Curvature(*self._functional(curvature, settings["structural"] > 0), point)

        def damped(vector: Tensor) -> Tensor:
            return bound.product(vector, self.damping, settings["structural"])

        candidates = conjugate_gradient(
            damped, -gradient, settings["decay"] * self._shared["direction"],
            steps=settings["cg_steps"], tolerance=settings["tolerance"],
        )  # fmt: skip
        self._shared["cg_steps"] = candidates[-1][0]
        self._shared["direction"] = candidates[-1][1]

        def loss_at(vector: Tensor) -> float:
            with torch.no_grad():
                return float(loss_of(run(point + vector)[0]))

        move, found = _backtrack(loss_at, [direction for _, direction in candidates])
        self._adapt(bound, gradient, move, found - float(loss))
        move = _line_search(loss_at, move, float(loss), found, float(gradient @ move))
        with torch.no_grad():
            for parameter, part in zip(
                self._named.values(), self._split(point + move), strict=True
            ):
                parameter.copy_(part)
        return loss

    def _adapt(self, bound: Curvature, gradient: Tensor, move: Tensor, change: float) -> None:
        """Levenberg and Marquardt: less damping where the quadratic model is right."""
        predicted = float(gradient @ move + move @ bound.product(move) / 2)
        ratio = change / predicted if predicted < 0 else -math.inf
        if not ratio >= 0.25:  # NaN is no good sign either
            self._shared["damping"] *= 1.5
        elif ratio > 0.75:
            self._shared["damping"] /= 1.5

    def _functional(
        self, closure: Closure, structural: bool
    ) -> tuple[Callable[[Tensor], tuple[Tensor, ...]], LossOf]:
        """A closure as a function of flat parameters, and its loss."""
        wrapped = _Wrapped(self._model, closure)

        def outputs(flat: Tensor) -> tuple[Any, ...]:
            names = (f"model.{name}" for name in self._named)
            named = dict(zip(names, self._split(flat), strict=True))
            result: tuple[Any, ...] = functional_call(wrapped, named, ())
            return result

        with torch.no_grad():
            given = outputs(self._flat())
        if structural and len(given) < 3:
            raise SettingError(
                "structural damping needs the hidden states, and the closure gave none",
                hint="Return (outputs, loss_of, states) with states (T, B, H)",
            )

        def run(flat: Tensor) -> tuple[Tensor, ...]:
            given = outputs(flat)
            return (given[0], given[2]) if structural else (given[0],)

        return run, given[1]

    def _flat(self) -> Tensor:
        return nn.utils.parameters_to_vector(self._named.values()).detach()

    def _split(self, flat: Tensor) -> list[Tensor]:
        """A flat vector as tensors of the parameters' shapes."""
        parameters = list(self._named.values())
        parts = flat.split([parameter.numel() for parameter in parameters])
        return [part.view_as(own) for part, own in zip(parts, parameters, strict=True)]


class _Wrapped(nn.Module):
    """A module whose forward pass is a closure over its only child."""

    def __init__(self, model: nn.Module, closure: Closure) -> None:
        super().__init__()
        self.model = model
        self._closure = closure

    def forward(self) -> Any:
        """What the closure gives, with the parameters that the child has now."""
        return self._closure()


def _pushed(function: Callable[[Tensor], Any], point: Tensor, tangent: Tensor) -> Any:
    """The change of a function's values along a tangent."""
    pair: tuple[Any, ...] = jvp(function, (point,), (tangent,))
    return pair[1]


@functools.cache
def _prepare_forward_mode() -> None:
    """torch compiles its forward-mode formulas at first use, and warns that its way is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))


class Curvature:
    """Products with the Gauss-Newton matrix of a net at a point.

    Args:
        run: flat parameters (N,) to the outputs, alone or with states (T, B, H) after them.
        loss_of: outputs to the loss.
        point: (N,).
    """

    def __init__(
        self, run: Callable[[Tensor], tuple[Tensor, ...]], loss_of: LossOf, point: Tensor
    ) -> None:
        _prepare_forward_mode()
        self._run, self._loss_of, self._point = run, loss_of, point
        pulled: tuple[Any, ...] = vjp(run, point)
        values, self._back = pulled
        self._outputs = values[0].detach()
        self._states = values[1].detach() if len(values) > 1 else None
        self.loss = loss_of(self._outputs).detach()

    def gradient(self) -> Tensor:
        """g, (N,)."""
        slope = grad(self._loss_of)(self._outputs)
        return self._pull_back(slope, None)

    def product(self, vector: Tensor, damping: float = 0.0, structural: float = 0.0) -> Tensor:
        """(G + damping (I + structural S)) vector, (N,)."""
        tangents = _pushed(self._run, self._point, vector)
        curved = _pushed(grad(self._loss_of), self._outputs, tangents[0])
        states = None
        if len(tangents) > 1:
            states = tangents[1] * (damping * structural / tangents[1].shape[1])
        return self._pull_back(curved, states) + damping * vector

    def _pull_back(self, outputs: Tensor, states: Tensor | None) -> Tensor:
        given: tuple[Tensor, ...] = (outputs.detach(),)
        if self._states is not None:
            given += (torch.zeros_like(self._states) if states is None else states.detach(),)
        (result,) = self._back(given, retain_graph=True)
        pulled: Tensor = result.detach()
        return pulled


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor,
    *,
    steps: int,
    tolerance: float,
) -> list[tuple[int, Tensor]]:
    """Minimise x'Ax/2 - b'x from a start, storing some iterates.

    It ends by Martens' rule: the mean relative progress of the last max(10, k/10) steps is below a
    tolerance.

    Args:
        product: A v.
        right: b.
        start: where to begin.
        steps: most steps.
        tolerance: relative progress a step.

    Returns:
        Pairs of a step number and the iterate there; the last one is where it ended.
    """
    x = start.clone()
    residual = right - product(x)
    direction, power = residual.clone(), float(residual @ residual)
    values, stored, store_at = [_model_value(x, right, residual)], [], 1.0
    number = 0
    while number < steps and power > 0:
        number += 1
        moved = product(direction)
        curve = float(direction @ moved)
        if not curve > 0:  # no descent is left, or rounding dominates
            break
        x = x + power / curve * direction
        residual = residual - power / curve * moved
        before, power = power, float(residual @ residual)
        direction = residual + power / before * direction
        values.append(_model_value(x, right, residual))
        if number >= store_at:
            stored.append((number, x))
            store_at = max(store_at * _GROWTH, number + 1)
        span = max(10, number // 10)
        progress = values[-1] - values[max(number - span, 0)]
        if number > span and values[-1] < 0 and progress / values[-1] < span * tolerance:
            break
    if not stored or stored[-1][0] != number:
        stored.append((number, x))
    return stored


def _model_value(x: Tensor, right: Tensor, residual: Tensor) -> float:
    """x'Ax/2 - b'x, with A x = b - residual."""
    return -float(x @ (right + residual)) / 2


def _backtrack(
    loss_at: Callable[[Tensor], float], candidates: list[Tensor]
) -> tuple[Tensor, float]:
    """From the last iterate of CG back to earlier ones, as long as the true loss falls."""
    best, found = candidates[-1], loss_at(candidates[-1])
    for candidate in reversed(candidates[:-1]):
        value = loss_at(candidate)
        if not value < found and math.isfinite(found):
            break
        best, found = candidate, value
    return best, found


def _line_search(
    loss_at: Callable[[Tensor], float], move: Tensor, loss: float, found: float, slope: float
) -> Tensor:
    """Halve a step until the loss falls enough; no step at all if it never does."""
    share = 1.0
    for _ in range(_HALVINGS):
        if found <= loss + _SUFFICIENT * share * min(slope, 0.0):
            return share * move
        share /= 2
        found = loss_at(share * move)
    return torch.zeros_like(move)
