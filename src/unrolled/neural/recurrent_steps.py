"""Element by element: from a row of gates to the next state, and back.

Kinds and the order of their gates are those of `recurrent_kernels`; rows are of multiples of
`WIDTH`.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from unrolled.runtime.kernels import REASSOCIATE, inlined, no_refcount
from unrolled.runtime.simd import (
    WIDTH,
    add,
    add_product,
    broadcast,
    divide,
    exponential,
    load,
    multiply,
    positive,
    store,
    subtract,
)

Array = np.ndarray[Any, Any]

TANH, SIGMOID, RELU, LINEAR, LSTM, GRU = range(6)


@inlined
def _tanh(v: Any) -> Any:
    """1 - 2 / (exp(2 v) + 1)."""
    one, two = broadcast(np.float32(1)), broadcast(np.float32(2))
    return subtract(one, divide(two, add(exponential(add(v, v)), one)))


@inlined
def _sigmoid(v: Any) -> Any:
    """1 - 1 / (exp(v) + 1)."""
    one = broadcast(np.float32(1))
    return subtract(one, divide(one, add(exponential(v), one)))


@no_refcount
def activate(
    kind: int, gates: Array, y: Array, cells: Array, mask: Array, gate: int, after: int, before: int
) -> None:
    """The state of a row `after` from that of a row `before` and its gates, which are activated.

    An LSTM's input gates, and with them its updates, are multiplied by the mask if it has rows.
    """
    width = y.shape[1]
    if kind == RELU:
        for j in range(width):
            # What is no number stays.
            gates[gate, j] = np.float32(0) if gates[gate, j] < 0 else gates[gate, j]
    elif kind == TANH:
        for j in range(0, width, WIDTH):
            store(gates, gate, j, _tanh(load(gates, gate, j)))
    elif kind == SIGMOID:
        for j in range(0, width, WIDTH):
            store(gates, gate, j, _sigmoid(load(gates, gate, j)))
    elif kind == LSTM:
        for j in range(0, width, WIDTH):
            enter = _sigmoid(load(gates, gate, j))
            if mask.shape[0] > 0:
                enter = multiply(enter, load(mask, gate, j))
            forget = _sigmoid(load(gates, gate, width + j))
            new = _tanh(load(gates, gate, 2 * width + j))
            out = _sigmoid(load(gates, gate, 3 * width + j))
            cell = add_product(multiply(enter, new), forget, load(cells, before, j))
            store(gates, gate, j, enter)
            store(gates, gate, width + j, forget)
            store(gates, gate, 2 * width + j, new)
            store(gates, gate, 3 * width + j, out)
            store(cells, after, j, cell)
            store(y, after, j, multiply(out, _tanh(cell)))
    elif kind == GRU:
        for j in range(0, width, WIDTH):
            reset = _sigmoid(load(gates, gate, width + j))
            update = _sigmoid(load(gates, gate, 2 * width + j))
            of_state = load(gates, gate, 3 * width + j)
            new = _tanh(add_product(load(gates, gate, j), reset, of_state))
            store(gates, gate, j, new)
            store(gates, gate, width + j, reset)
            store(gates, gate, 2 * width + j, update)
            store(y, after, j, add_product(new, update, subtract(load(y, before, j), new)))


@no_refcount
def send_back(
    kind: int, gates: Array, cells: Array, y: Array, gate: int, batch: int, state: Array,
    cell: Array, i: int, errors: Array, row: int, keep: float,
) -> None:  # fmt: skip
    """The errors of a row of gates from those of the state after it.

    Those of the state, and of an LSTM's cell, become what reaches the state before past the gates.
    Where a share 1 - `keep` was dropped, its input gates are 0 or sigmoids divided by `keep`.
    """
    width = y.shape[1]
    one, kept_share = broadcast(np.float32(1)), broadcast(np.float32(keep))
    if kind == LINEAR:
        for j in range(0, width, WIDTH):
            store(errors, row, j, load(state, i, j))
    elif kind == RELU:
        for j in range(0, width, WIDTH):
            store(errors, row, j, positive(load(state, i, j), load(gates, gate, j)))
    elif kind == TANH:
        for j in range(0, width, WIDTH):
            v = load(gates, gate, j)
            store(errors, row, j, multiply(load(state, i, j), subtract(one, multiply(v, v))))
    elif kind == SIGMOID:
        for j in range(0, width, WIDTH):
            v = load(gates, gate, j)
            store(errors, row, j, multiply(load(state, i, j), multiply(v, subtract(one, v))))
    elif kind == LSTM:
        for j in range(0, width, WIDTH):
            enter, forget = load(gates, gate, j), load(gates, gate, width + j)
            new, out = load(gates, gate, 2 * width + j), load(gates, gate, 3 * width + j)
            dh, squashed = load(state, i, j), _tanh(load(cells, gate + batch, j))
            slope = multiply(out, subtract(one, multiply(squashed, squashed)))
            dc = add_product(load(cell, i, j), dh, slope)
            store(cell, i, j, multiply(dc, forget))
            of_enter = multiply(enter, subtract(one, multiply(kept_share, enter)))
            gated = multiply(multiply(dc, new), of_enter)
            store(errors, row, j, gated)
            kept = multiply(dc, load(cells, gate, j))
            kept = multiply(kept, multiply(forget, subtract(one, forget)))
            store(errors, row, width + j, kept)
            candidate = multiply(multiply(dc, enter), subtract(one, multiply(new, new)))
            store(errors, row, 2 * width + j, candidate)
            shown = multiply(multiply(dh, squashed), multiply(out, subtract(one, out)))
            store(errors, row, 3 * width + j, shown)
    elif kind == GRU:
        for j in range(0, width, WIDTH):
            new, reset = load(gates, gate, j), load(gates, gate, width + j)
            update, of_state = load(gates, gate, 2 * width + j), load(gates, gate, 3 * width + j)
            dh, before = load(state, i, j), load(y, gate, j)
            dnew = multiply(multiply(dh, subtract(one, update)), subtract(one, multiply(new, new)))
            store(errors, row, j, dnew)
            dreset = multiply(multiply(dnew, of_state), multiply(reset, subtract(one, reset)))
            store(errors, row, width + j, dreset)
            dupdate = multiply(multiply(dh, subtract(before, new)), update)
            store(errors, row, 2 * width + j, multiply(dupdate, subtract(one, update)))
            store(errors, row, 3 * width + j, multiply(dnew, reset))
            store(state, i, j, multiply(dh, update))


@no_refcount(fastmath=REASSOCIATE)
def bound_errors(errors: Array, i: int, most: float, norm: float) -> None:
    """Clip a row of errors in place: each of them, then their norm; 0 for no limit."""
    if most > 0:
        for j in range(errors.shape[1]):
            errors[i, j] = min(max(errors[i, j], np.float32(-most)), np.float32(most))
    if norm > 0:
        total = np.float32(0)
        for j in range(errors.shape[1]):
            total += errors[i, j] * errors[i, j]
        if total > norm * norm:
            scale = np.float32(norm / sqrt(total))
            for j in range(errors.shape[1]):
                errors[i, j] *= scale
