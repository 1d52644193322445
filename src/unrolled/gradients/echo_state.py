"""Echo state networks: recurrent nets whose only trained weights are those of a linear read-out.

A fixed, sparse, random reservoir (Jaeger 2001; leaky units as in Lukosevicius 2012, equations 2-3)

    s_t = (1 - a) s_{t-1} + a tanh(W x_t + U s_{t-1} + b)

is driven by the input, and ridge regression reads the answer from [1, x_t, s_t]. No gradient passes
through time, so none vanishes. It needs NumPy alone, and follows scikit-learn's conventions without
needing scikit-learn.

>>> random = np.random.default_rng(0)
>>> x = random.uniform(0, 0.5, (400, 1))
>>> y = np.roll(x[:, 0], 3)  # what came in three steps ago
>>> net = EchoStateNetwork(100, washout=20, seed=1).fit(x[:300], y[:300])
>>> net.score(x[300:], y[300:]) > 0.99
True
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.settings import check_names, check_settings, setting, settings_of

Array = np.ndarray[Any, Any]

_BLOCK = 512  # steps whose states are held at a time


@dataclass(eq=False)
class EchoStateNetwork:
    """A regressor of sequences.

    Input is one sequence (T, E), or several of one length (B, T, E), each from a state of zeros.
    Targets are (T,), (T, O), (B, T) or (B, T, O), one a step; or, with ``last=True``, (B,) or
    (B, O), one for each whole sequence.

    As in scikit-learn, settings are stored unchanged, and `fit` checks them.

    >>> EchoStateNetwork(50).set_params(leak=0.5).get_params()["leak"]
    0.5
    """

    units: int = setting(300, "H, size of the reservoir.", minimum=1)
    _: KW_ONLY
    spectral_radius: float = setting(
        0.9, "Of the recurrent weights; below 1 the state forgets its start.", above=0
    )
    leak: float = setting(1.0, "a, share of a state that is new.", above=0, maximum=1)
    input_scale: float = setting(0.5, "Input weights are uniform within it, of both signs.")
    bias_scale: float = setting(0.1, "The same of b.")
    reservoir: str = setting(
        "sparse",
        "sparse, a few random weights into each unit, or cycle, each unit into the next (Rodan, "
        "Tino 2011), whose linear memory is the longest: all singular values are equal.",
        choices=("sparse", "cycle"),
    )
    connections: int = setting(
        10, "Recurrent weights into each unit of a sparse reservoir.", minimum=1
    )
    ridge: float = setting(
        1e-8, "Penalty on the read-out's squared weights, but its constant's.", minimum=0
    )
    washout: int = setting(
        100, "First steps of a sequence that the read-out does not learn from.", minimum=0
    )
    squares: bool = setting(False, "Read from squared states too.")
    last: bool = setting(False, "Read only the last state of each sequence.")
    seed: int = setting(0, "Of the reservoir.")
    # The last state of a stream, and its number of steps.
    _stream: tuple[Array, int] = field(init=False, repr=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Settings by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in settings_of(type(self))}

    def set_params(self, **settings: Any) -> EchoStateNetwork:
        """Change settings; they count from the next `fit` on.

        Raises:
            SettingError: an unknown name.
        """
        check_names(settings, type(self))
        for name, value in settings.items():
            setattr(self, name, value)
        return self

    def fit(self, x: Array, y: Array) -> EchoStateNetwork:
        """Draw a reservoir and learn its read-out.

        Raises:
            SettingError: a setting out of range, or shapes that do not go together.
        """
        vars(self).pop("reservoir_", None)  # so that `partial_fit` begins anew
        return self.partial_fit(x, y)

    def partial_fit(self, x: Array, y: Array) -> EchoStateNetwork:
        """Learn from more data; a sequence (T, E) continues that of the last call.

        The read-out is what `fit` would learn from all at once; memory does not grow with T. Many
        steps a call are faster than few.

        Raises:
            SettingError: a setting out of range, or shapes that do not go together.
        """
        x, several = _sequences(x)
        if "reservoir_" not in vars(self):
            self._begin(x.shape[2])
        y = self._targets(y, x, several)
        state, seen = self._stream
        if several:
            state, seen = np.zeros((len(x), self.units)), 0
        for begin, states, inputs in self._blocks(x, state):
            first = max(self.washout - seen - begin, 0)
            if self.last:
                rows = self._features(inputs[:, -1:], states[:, -1:])
                wanted = y[:, None] if begin + inputs.shape[1] == x.shape[1] else None
            else:
                rows = self._features(inputs[:, first:], states[:, first:])
                wanted = y[:, begin + first : begin + inputs.shape[1]]
            if wanted is not None and rows.shape[1]:
                self._learn(rows.reshape(-1, rows.shape[2]), wanted.reshape(-1, y.shape[-1]))
            state = states[:, -1]
        if not several:
            self._stream = (state, seen + x.shape[1])
        return self

    def predict(self, x: Array) -> Array:
        """The read-out at each step, or of each sequence, from a state of zeros.

        Raises:
            SettingError: it was not fitted, or x has another width than in fitting.
        """
        weights = self._weights()
        x, several = self._given(x)
        parts = []
        for _, states, inputs in self._blocks(x, np.zeros((len(x), self.units))):
            if self.last:
                parts = [self._features(inputs[:, -1:], states[:, -1:]) @ weights]
            else:
                parts.append(self._features(inputs, states) @ weights)
        result = np.concatenate(parts, axis=1)
        if self.last:
            result = result[:, 0]
        if self._flat:
            result = result[..., 0]
        return result if several else result[0]

    def score(self, x: Array, y: Array) -> float:
        """R squared of the predictions, the washout of each sequence left out."""
        predicted, y = self.predict(x), np.asarray(y, np.float64)
        if not self.last:
            axis = 1 if np.ndim(x) == 3 else 0
            after = [slice(None)] * axis + [slice(self.washout, None)]
            predicted, y = predicted[tuple(after)], y[tuple(after)]
        return 1 - nrmse(y, predicted) ** 2

    # -- sequences that feed themselves ----------------------------------------------------------

    def generate(self, x: Array, steps: int) -> Array:
        """Continue sequences, each prediction the next input; for nets fitted to the next value.

        Args:
            x: the sequences so far, (T, E) or (B, T, E).
            steps: K, to generate.

        Returns:
            (K, E) or (B, K, E).

        Raises:
            SettingError: it was not fitted, or its outputs are not as wide as its inputs.
        """
        weights = self._weights()
        x, several = self._given(x)
        if weights.shape[1] != x.shape[2] or self.last:
            raise SettingError(
                f"outputs of width {weights.shape[1]} cannot be inputs of width {x.shape[2]}",
                hint="Fit it to the next value of its own input",
            )
        state = np.zeros((len(x), self.units))
        for _, states, _ in self._blocks(x, state):
            state = states[:, -1]
        made = np.empty((len(x), steps, x.shape[2]))
        value = x[:, -1]
        for step in range(steps):
            value = self._features(value[:, None], state[:, None])[:, 0] @ weights
            made[:, step] = value
            state = self._step(value, state)
        return made if several else made[0]

    # -- reservoir -------------------------------------------------------------------------------

    def _begin(self, width: int) -> None:
        """Draw the reservoir and reset the read-out."""
        check_settings(self)
        random = np.random.default_rng(self.seed)
        if self.reservoir == "cycle":
            self._sources = np.roll(np.arange(self.units), 1)[:, None]
            self.reservoir_ = self.spectral_radius * np.roll(np.eye(self.units), 1, axis=0)
        else:
            shape = (self.units, min(self.connections, self.units))
            order = random.random((self.units, self.units)).argsort(1)
            self._sources = order[:, : shape[1]]
            self.reservoir_ = np.zeros((self.units, self.units))
            np.put_along_axis(self.reservoir_, self._sources, random.uniform(-1, 1, shape), 1)
            radius = np.abs(np.linalg.eigvals(self.reservoir_)).max()
            self.reservoir_ *= self.spectral_radius / radius
        self._strengths = np.take_along_axis(self.reservoir_, self._sources, 1)
        self.input_weights_ = random.uniform(-1, 1, (self.units, width)) * self.input_scale
        self.bias_ = random.uniform(-1, 1, self.units) * self.bias_scale
        self._stream = (np.zeros((1, self.units)), 0)
        # Sums of products would square the condition of the states; a triangle of their QR
        # decomposition, with the targets as further columns, loses no digits. It is (F, F + O).
        self.triangle_: Array | None = None
        self._readout: Array | None = None

    def _step(self, x: Array, state: Array) -> Array:
        """The next states (B, H) of inputs (B, E)."""
        if len(state) == 1 and 8 * self._sources.shape[1] < self.units:
            # One sequence: a few products a unit are faster than all of the matrix.
            recurrent = (self._strengths * state[0, self._sources]).sum(1)
        else:
            recurrent = state @ self.reservoir_.T
        new = np.tanh(x @ self.input_weights_.T + recurrent + self.bias_)
        mixed: Array = (1 - self.leak) * state + self.leak * new
        return mixed

    def _blocks(self, x: Array, state: Array) -> Any:
        """Step number, states (B, t, H) and inputs (B, t, E) of blocks of x (B, T, E)."""
        for begin in range(0, x.shape[1], _BLOCK):
            inputs = x[:, begin : begin + _BLOCK]
            states = np.empty((*inputs.shape[:2], self.units))
            for t in range(inputs.shape[1]):
                state = self._step(inputs[:, t], state)
                states[:, t] = state
            yield begin, states, inputs

    # -- read-out --------------------------------------------------------------------------------

    def _features(self, inputs: Array, states: Array) -> Array:
        parts = [np.ones((*inputs.shape[:2], 1)), inputs, states]
        if self.squares:
            parts.append(states**2)
        return np.concatenate(parts, axis=2)

    def _learn(self, rows: Array, wanted: Array) -> None:
        """Take in rows of features (N, F) and answers (N, O)."""
        more = np.hstack([rows, wanted])
        if self.triangle_ is not None:
            if self.triangle_.shape[1] != more.shape[1]:
                known = self.triangle_.shape[1] - rows.shape[1]
                raise SettingError(f"targets are {wanted.shape[1]} wide, and were {known} before")
            more = np.vstack([self.triangle_, more])
        # Rows below the first F hold what of the answers is left unexplained.
        triangle: Any = np.linalg.qr(more, mode="r")
        self.triangle_ = triangle[: rows.shape[1]]
        self._readout = None

    def _weights(self) -> Array:
        """The read-out (F, O), solved when it is first asked for."""
        triangle = getattr(self, "triangle_", None)
        if triangle is None:
            raise SettingError(
                "the net has learnt nothing yet", hint="Call fit with more steps than its washout"
            )
        if self._readout is None:
            features = 1 + self.input_weights_.shape[1] + self.units * (2 if self.squares else 1)
            penalty = np.sqrt(self.ridge) * np.eye(features)
            penalty[0, 0] = 0
            left: Array = np.vstack([triangle[:, :features], penalty])
            right: Array = np.zeros((len(left), triangle.shape[1] - features))
            right[: len(triangle)] = triangle[:, features:]
            self._readout = np.linalg.lstsq(left, right, rcond=1e-15)[0]
        weights: Array = self._readout
        return weights

    def _given(self, x: Array) -> tuple[Array, bool]:
        x, several = _sequences(x)
        width = self.input_weights_.shape[1]
        if x.shape[2] != width:
            raise SettingError(f"inputs are {x.shape[2]} wide, and the net was fitted to {width}")
        return x, several

    def _targets(self, y: Array, x: Array, several: bool) -> Array:
        """Targets as (B, T, O), or (B, O) with ``last``."""
        y = np.asarray(y, np.float64)
        self._given(x)
        expected = x.shape[:1] if self.last else x.shape[:2] if several else x.shape[1:2]
        if y.shape[: len(expected)] != expected or y.ndim > len(expected) + 1:
            raise SettingError(
                f"targets of shape {y.shape} do not go with inputs of shape "
                f"{x.shape if several else x.shape[1:]}{' and last=True' if self.last else ''}"
            )
        self._flat = y.ndim == len(expected)
        y = y[..., None] if self._flat else y
        return y if several or self.last else y[None]


def nrmse(y: Array, predicted: Array) -> float:
    """Root mean squared error over the standard deviation of y: 0 is perfect, 1 a constant guess.

    >>> nrmse(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
    1.0
    """
    y = np.asarray(y, np.float64)
    return float(np.sqrt(np.mean((y - predicted) ** 2) / np.mean((y - y.mean(0)) ** 2)))


def _sequences(x: Array) -> tuple[Array, bool]:
    """Inputs as (B, T, E), and whether they came so."""
    x = np.asarray(x, np.float64)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise SettingError(f"inputs have the shape {x.shape}, allowed are (T, E) and (B, T, E)")
    return (x, True) if x.ndim == 3 else (x[None], False)
