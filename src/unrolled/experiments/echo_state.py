"""Echo state networks on two benchmarks of their own literature: NARMA-10 and Mackey-Glass.

NARMA-10 asks for a nonlinear memory of ten steps: y_{t+1} = 0.3 y_t + 0.05 y_t (y_t + ... +
y_{t-9}) + 1.5 u_{t-9} u_t + 0.1, u uniform in [0, 0.5]. Mackey-Glass, dx/dt = 0.2 x(t-17) / (1 +
x(t-17)^10) - 0.1 x(t), is chaotic; the net runs on its own predictions for 84 steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.gradients.echo_state import EchoStateNetwork, nrmse
from unrolled.report.line_chart import Line, Panel, line_chart
from unrolled.report.scales import Axis
from unrolled.report.style import Maths

SOURCE = (
    "NARMA-10: A. Atiya, A. Parlos 2000. Mackey-Glass: H. Jaeger, H. Haas. Harnessing "
    "nonlinearity. Science 304, 2004, pages 78 to 80: -4.2 (1,000 units, outputs fed back). In "
    "H. Jaeger. The echo state approach. GMD report 148, 2001, section 6.4, 400 units and 3,000 "
    "steps have 0.028 %, a logarithm of -3.55."
)
PUBLISHED = {"Mackey-Glass, 84 steps on its own": {"log10 of normalised error": -4.2}}
SPREAD = {
    "normalised error, %": Spread(relative=0.5), "of the worst net, %": Spread(relative=1.0),
    "log10 of normalised error": Spread(absolute=0.3),
}  # fmt: skip

Array = np.ndarray[Any, Any]

_EULER = 10  # steps of integration a unit of time
_DELAY = 17
_AHEAD = 84


@dataclass(frozen=True)
class Settings:
    """One size: units of the reservoirs, steps to learn from, nets, and starts of forecasts."""

    narma_units: int
    narma_steps: int
    mackey_units: int
    mackey_steps: int
    seeds: int
    starts: int


SETTINGS = {
    "smoke": Settings(100, 1500, 400, 2000, seeds=1, starts=10),
    "laptop": Settings(500, 4000, 1000, 3000, seeds=5, starts=100),
    "paper": Settings(500, 4000, 1000, 3000, seeds=100, starts=100),
}


def narma10(steps: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Inputs u (T, 1) and outputs y (T,), y_t to be predicted from u up to t - 1.

    The recursion can run away; inputs with which it does are drawn again.
    """
    while True:
        u = random.uniform(0, 0.5, steps + 50)
        y = np.zeros(steps + 50)
        for t in range(9, steps + 49):
            y[t + 1] = (
                0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
            )
            if y[t + 1] > 1:
                break
        else:
            # u is shifted by one, so that its last value is the last one that y_t depends on.
            return u[49:-1, None], y[50:]


def mackey_glass(steps: int, random: np.random.Generator) -> Array:
    """x (T, 1) at whole units of time, as tanh(x - 1), which is within [-0.6, 0.4]."""
    lag, skip = _DELAY * _EULER, 1000 * _EULER
    x = np.empty(lag + skip + steps * _EULER)
    x[:lag] = 1.2 + random.uniform(-0.1, 0.1, lag)
    for t in range(lag, len(x)):
        late = x[t - lag]
        x[t] = x[t - 1] + (0.2 * late / (1 + late**10) - 0.1 * x[t - 1]) / _EULER
    return np.tanh(x[lag + skip :: _EULER, None] - 1)


def run(setup: Setup) -> Results:
    """Normalised errors of several reservoirs, and one forecast."""
    settings = SETTINGS[setup.size]
    seeds = range(setup.seed, setup.seed + settings.seeds)
    narma = []
    for seed in seeds:
        narma.append(narma_error(settings, seed))
        setup.report(f"NARMA-10, seed {seed}: normalised error {narma[-1]:.3f}")
    mackey = []
    forecast: dict[str, Any] = {}
    for seed in seeds:
        found, forecast = mackey_error(settings, seed)
        mackey.append(found)
        setup.report(f"Mackey-Glass, seed {seed}: log10 of error {math.log10(found):.2f}")
    table = {
        "NARMA-10": {
            "normalised error, %": 100 * float(np.mean(narma)),
            "of the worst net, %": 100 * max(narma),
        },
        "Mackey-Glass, 84 steps on its own": {
            "normalised error, %": 100 * float(np.median(mackey)),
            "of the worst net, %": 100 * max(mackey),
            "log10 of normalised error": math.log10(float(np.median(mackey))),
        },
    }
    return {
        "table": table, "narma_nrmse": narma, "mackey_nrmse84": mackey, "forecast": forecast,
    }  # fmt: skip


def narma_error(settings: Settings, seed: int) -> float:
    """Normalised error on fresh 2,000 steps, one reservoir."""
    random = np.random.default_rng(seed)
    net = EchoStateNetwork(
        settings.narma_units, spectral_radius=0.9, input_scale=0.1, bias_scale=0.2, ridge=1e-8,
        washout=200, squares=True, seed=seed,
    )  # fmt: skip
    net.fit(*narma10(settings.narma_steps, random))
    u, y = narma10(2200, random)
    return nrmse(y[200:], net.predict(u)[200:])


def mackey_error(settings: Settings, seed: int) -> tuple[float, dict[str, Any]]:
    """Normalised error after 84 steps, over many starts; and one forecast with the truth."""
    random = np.random.default_rng(seed)
    series = mackey_glass(settings.mackey_steps + 1, random)
    net = EchoStateNetwork(
        settings.mackey_units, spectral_radius=0.9, input_scale=1.0, bias_scale=0.5, ridge=1e-20,
        washout=100, seed=seed,
    )  # fmt: skip
    net.fit(series[:-1], series[1:])
    before, apart = 300, 50
    fresh = mackey_glass(before + apart * settings.starts + 400, random)
    begins = apart * np.arange(settings.starts)
    known = np.stack([fresh[begin : begin + before] for begin in begins])
    ends = fresh[begins + before - 1 + _AHEAD, 0]
    error = ends - net.generate(known, _AHEAD)[:, -1, 0]
    longer = net.generate(known[:1], 400)[0, :, 0]
    forecast = {"truth": fresh[before : before + 400, 0].tolist(), "net": longer.tolist()}
    return float(np.sqrt(np.mean(error**2) / fresh.var())), forecast


def draw(results: Results) -> dict[str, str]:
    """One forecast over the truth, and below it how far apart they are."""
    truth, net = (results["forecast"][name] for name in ("truth", "net"))
    steps = range(1, len(truth) + 1)
    errors = [abs(one - other) for one, other in zip(truth, net, strict=True)]
    x = Axis("steps on its own predictions")
    value = Maths("tanh(*x*_{*t*} − 1)")
    return {
        "": line_chart(
            [
                # The truth is broad and pale, so that what lies on it does not hide it.
                Panel(
                    [Line("truth", steps, truth, 4, width=6, opacity=0.45),
                     Line("echo state network", steps, net, 0, width=1.5)],
                    x, Axis(value), height=170,
                ),
                Panel(
                    [Line("distance", steps, errors, 1, width=1.5)], x,
                    Axis("distance of the two", log=True), height=120,
                ),
            ],
            "A chaotic series, Mackey-Glass, and its forecast",
            shared_y=False,
        )
    }  # fmt: skip
