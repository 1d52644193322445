"""What numbers about gradients mean, in words."""

from __future__ import annotations

import numpy as np

from unrolled.gradients.by_lag import SMALL, LayerLags

GROWS = 10.0  # a mean norm so many times that of lag 0 is an explosion
DEAD_SHARE = 0.1  # units; from so many on it is worth a word
CLIPPED_SHARE = 0.5  # updates


def of_lags(layer: LayerLags) -> list[str]:
    """Where the gradients of a layer end, or that they grow; empty where they do neither.

    >>> from unrolled.gradients.laboratory import measure_cell
    >>> of_lags(measure_cell("elman", hidden=16, steps=20, batch=4).lags.layers[0])
    ['layer 1: gradients beyond lag 5 are under 1 % of the total']
    """
    norms, longest = layer.norms, len(layer.norms) - 1
    if not np.isfinite(norms).all():
        return [f"{layer.name}: gradients are not finite"]
    if not norms.any():
        return [f"{layer.name}: no gradient comes in"]
    found = []
    if layer.reach < longest:
        share = f"under {100 * SMALL:.0f} % of the total"
        found.append(f"{layer.name}: gradients beyond lag {layer.reach} are {share}")
    lag = int(norms.argmax())
    if lag > 0 and norms[lag] > GROWS * norms[0] > 0:
        times = norms[lag] / norms[0]
        found.append(
            f"{layer.name}: gradients grow with the lag, at lag {lag} they are {times:,.0f} times "
            "those at lag 0"
        )
    return found


def of_units(name: str, dead: float, saturated: dict[str, float]) -> list[str]:
    """Units that pass no error on."""
    found = []
    if dead >= DEAD_SHARE:
        found.append(f"{name}: {100 * dead:.0f} % of the units are dead or saturated throughout")
    elif saturated.get("state", 0) >= 0.5:
        found.append(f"{name}: {100 * saturated['state']:.0f} % of the states are saturated")
    return found


def of_clipping(clipped: float) -> list[str]:
    """Gradients that are mostly too large for their limit."""
    if clipped < CLIPPED_SHARE:
        return []
    return [f"{100 * clipped:.0f} % of the updates are clipped"]
