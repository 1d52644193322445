"""Echo state networks against plain loops and the normal equations."""

from __future__ import annotations

import numpy as np
import pytest

from unrolled.errors import SettingError
from unrolled.gradients.echo_state import EchoStateNetwork, nrmse

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.uniform(-1, 1, (60, 2)), RANDOM.uniform(-1, 1, (60, 3))


def _net(**settings: object) -> EchoStateNetwork:
    given = {"units": 12, "connections": 3, "leak": 0.7, "washout": 5, "ridge": 0.1, "seed": 2}
    return EchoStateNetwork(**{**given, **settings})  # type: ignore[arg-type]


def _features(net: EchoStateNetwork, x: np.ndarray) -> np.ndarray:
    """The equations, one unit at a time."""
    state, rows = [0.0] * net.units, []
    for row in x:
        state = [
            (1 - net.leak) * state[i]
            + net.leak * np.tanh(
                sum(net.input_weights_[i, j] * row[j] for j in range(len(row)))
                + sum(net.reservoir_[i, j] * state[j] for j in range(net.units))
                + net.bias_[i]
            )
            for i in range(net.units)
        ]  # fmt: skip
        extra = [value**2 for value in state] if net.squares else []
        rows.append([1.0, *row, *state, *extra])
    return np.array(rows)


def _ridge(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The normal equations, the constant without a penalty."""
    penalty = 0.1 * np.eye(rows.shape[1])
    penalty[0, 0] = 0
    return np.linalg.solve(rows.T @ rows + penalty, rows.T @ wanted)


@pytest.mark.parametrize("squares", [False, True])
def test_predictions_are_those_of_ridge_regression_on_the_equations_states(squares: bool) -> None:
    net = _net(squares=squares).fit(X, Y)
    rows = _features(net, X)
    assert net.predict(X) == pytest.approx(rows @ _ridge(rows[5:], Y[5:]))


def test_the_reservoir_is_sparse_and_has_its_radius() -> None:
    net = _net(spectral_radius=0.8).fit(X, Y)
    assert np.count_nonzero(net.reservoir_, axis=1).tolist() == [3] * 12
    assert np.abs(np.linalg.eigvals(net.reservoir_)).max() == pytest.approx(0.8)


def test_a_cycle_tells_what_came_long_ago() -> None:
    net = _net(units=80, reservoir="cycle", spectral_radius=0.9, leak=1.0, input_scale=0.01,
               bias_scale=0.0, ridge=0.0, washout=30)  # fmt: skip
    x = np.random.default_rng(1).uniform(-1, 1, (400, 1))
    net.fit(x, np.roll(x, 30))
    assert net.reservoir_ @ net.reservoir_.T == pytest.approx(0.81 * np.eye(80))
    assert nrmse(np.roll(x, 30)[30:], net.predict(x)[30:]) < 0.02


def test_a_stream_is_learnt_as_if_it_came_at_once() -> None:
    whole = _net().fit(X, Y)
    parts = _net()
    for begin in range(0, 60, 7):
        parts.partial_fit(X[begin : begin + 7], Y[begin : begin + 7])
    assert parts.predict(X) == pytest.approx(whole.predict(X))
    # A new fit forgets the old one.
    assert parts.fit(X, Y).predict(X) == pytest.approx(whole.predict(X))


def test_large_sparse_reservoirs_step_alike_alone_and_in_company() -> None:
    net = EchoStateNetwork(100, connections=5, washout=0, seed=1).fit(X, Y)
    assert net.predict(np.stack([X, X]))[1] == pytest.approx(net.predict(X))


def test_several_sequences_each_begin_at_zero() -> None:
    x, y = X.reshape(3, 20, 2), Y.reshape(3, 20, 3)
    net = _net().fit(x, y)
    rows = np.concatenate([_features(net, part)[5:] for part in x])
    assert net.predict(x[1])[7] == pytest.approx(
        _features(net, x[1])[7] @ _ridge(rows, y[:, 5:].reshape(-1, 3))
    )
    assert net.predict(x).shape == (3, 20, 3)
    assert net.predict(x)[2] == pytest.approx(net.predict(x[2]))


def test_the_last_state_alone_may_be_read() -> None:
    x, y = X.reshape(6, 10, 2), Y[:6, 0]
    net = _net(last=True).fit(x, y)
    rows = np.stack([_features(net, part)[-1] for part in x])
    assert net.predict(x) == pytest.approx((rows @ _ridge(rows, y[:, None]))[:, 0])


def test_it_goes_on_by_itself() -> None:
    """A sine is its own next value's function; a loop of single predictions must agree."""
    wave = np.sin(0.2 * np.arange(400))[:, None]
    net = _net(units=50, ridge=1e-8, leak=1.0, washout=50).fit(wave[:-1], wave[1:])
    made = net.generate(wave[:300], 60)
    assert made == pytest.approx(wave[300:360], abs=1e-3)
    looped = list(wave[:300])
    for _ in range(4):
        looped.append(net.predict(np.array(looped))[-1])
    assert made[:4] == pytest.approx(np.array(looped[300:]))
    assert net.generate(np.stack([wave[:300]] * 2), 60)[1] == pytest.approx(made)


def test_scikit_learns_conventions() -> None:
    net = _net()
    twin = EchoStateNetwork(**net.get_params())
    assert twin.get_params() == net.get_params()
    assert twin.set_params(leak=0.5) is twin
    assert "leak=0.5" in repr(twin)
    assert net.fit(X, Y) is net
    assert net.fit(X, Y[:, 0]).predict(X).shape == (60,)
    expected = (
        1
        - ((Y[5:] - net.fit(X, Y).predict(X)[5:]) ** 2).mean()
        / ((Y[5:] - Y[5:].mean(0)) ** 2).mean()
    )
    assert net.score(X, Y) == pytest.approx(expected)
    assert nrmse(Y[:, 0], np.full(60, Y[:, 0].mean())) == pytest.approx(1)


def test_what_it_refuses() -> None:
    with pytest.raises(SettingError, match="there is no setting 'size'"):
        _net().set_params(size=3)
    with pytest.raises(SettingError, match="reservoir is 'ring', allowed are sparse, cycle"):
        _net(reservoir="ring").fit(X, Y)
    with pytest.raises(SettingError, match="leak is 0.*, allowed are numbers above 0, up to 1"):
        _net(leak=0).fit(X, Y)
    with pytest.raises(SettingError, match="learnt nothing yet. Call fit with more steps"):
        _net().predict(X)
    with pytest.raises(SettingError, match="learnt nothing yet"):
        _net(washout=99).fit(X, Y).predict(X)
    with pytest.raises(SettingError, match=r"inputs have the shape \(60,\), allowed are \(T, E\)"):
        _net().fit(X[:, 0], Y)
    with pytest.raises(SettingError, match=r"targets of shape \(59, 3\) do not go with inputs"):
        _net().fit(X, Y[1:])
    with pytest.raises(SettingError, match="targets are 1 wide, and were 3 before"):
        _net().fit(X, Y).partial_fit(X, Y[:, 0])
    with pytest.raises(SettingError, match="inputs are 1 wide, and the net was fitted to 2"):
        _net().fit(X, Y).predict(X[:, :1])
    with pytest.raises(SettingError, match="outputs of width 3 cannot be inputs of width 2"):
        _net().fit(X, Y).generate(X, 3)
