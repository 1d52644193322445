"""Norms by lag as `lags` measures them: means, shares, reach, and sums over several texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, Any]

SMALL = 0.01  # lags beyond the reach have less than this share of the total


@dataclass
class LayerLags:
    """Norms by lag of one layer, or of one direction of it; sums over all pairs (t, k).

    Attributes:
        name: such as ``layer 1``.
        sums: (K,) float64 sum of |dE_t/dh_{t-k}| over steps t and sentences.
        counts: (K,) how many they are.
        heat_sums, heat_counts: (K, T) the same for each step t.
        cell_sums: (K,) of |dE_t/dc_{t-k}|, c the cell state of an LSTM; None for others.
        highway_sums: (K,) of the norm of that part of dE_t/dc_{t-k} (of a GRU: dE_t/dh_{t-k}) that
            passed through the cell state only, multiplied by forget gates (update gates) and by no
            recurrent weight. None for other cells, or where it was not asked for.
    """

    name: str
    sums: Array
    counts: Array
    heat_sums: Array
    heat_counts: Array
    cell_sums: Array | None = None
    highway_sums: Array | None = None

    @property
    def norms(self) -> Array:
        """(K,) mean of |dE_t/dh_{t-k}|."""
        return _ratio(self.sums, self.counts)

    @property
    def cell_norms(self) -> Array | None:
        """(K,) mean of |dE_t/dc_{t-k}|, of an LSTM."""
        return None if self.cell_sums is None else _ratio(self.cell_sums, self.counts)

    @property
    def highway_norms(self) -> Array | None:
        """(K,) mean norm of what passed through the cell state only."""
        return None if self.highway_sums is None else _ratio(self.highway_sums, self.counts)

    @property
    def shares(self) -> Array:
        """(K,) share of the sum of all norms that each lag has."""
        total = self.sums.sum()
        return self.sums / total if total > 0 else np.zeros_like(self.sums)

    @property
    def heat(self) -> Array:
        """(K, T) mean norm by lag and step t, NaN where there is none."""
        with np.errstate(invalid="ignore"):
            found: Array = self.heat_sums / np.where(self.heat_counts > 0, self.heat_counts, np.nan)
        return found

    @property
    def reach(self) -> int:
        """The lag beyond which all lags together have less than 1 % of the total."""
        beyond = 1 - np.cumsum(self.shares)
        within = np.flatnonzero(beyond < SMALL)
        return int(within[0]) if within.size and self.sums.any() else len(self.sums) - 1

    def add(self, other: LayerLags) -> None:
        """Add the sums of another text; arrays of fewer lags are padded with zeros."""
        for name in ("sums", "counts", "heat_sums", "heat_counts", "cell_sums", "highway_sums"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None:
                setattr(self, name, _added(mine, theirs))

    def record(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        found = {
            "name": self.name,
            "norms": _rounded(self.norms),
            "shares": _rounded(self.shares),
            "reach": self.reach,
        }
        for name in ("cell_norms", "highway_norms"):
            values = getattr(self, name)
            if values is not None:
                found[name] = _rounded(values)
        return found


@dataclass
class GradientLags:
    """Norms by lag of every layer.

    Attributes:
        layers: lowest first; of a bidirectional layer the forward direction first.
        weights: of each, (K, G H, H) the part of dE/dU, U the recurrent weights, that comes from
            each lag; empty if it was not asked for.
    """

    layers: list[LayerLags]
    weights: list[Tensor] = field(default_factory=list)

    def add(self, other: GradientLags) -> None:
        """Add the sums of another text."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.add(theirs)
        self.weights = [a + b for a, b in zip(self.weights, other.weights, strict=True)]

    @classmethod
    def total(cls, parts: Iterable[GradientLags]) -> GradientLags:
        """The sum over several texts or batches, at least one."""
        total, *others = parts
        for other in others:
            total.add(other)
        return total

    def weight_shares(self) -> list[Array]:
        """Of each layer (K,) the share of dE/dU that comes from each lag.

        <g_k, g> / <g, g>, g_k the part of lag k, g their sum: shares add up to one, and may be
        negative.
        """
        found = []
        for parts in self.weights:
            total = parts.sum(0)
            along = (parts * total).sum((1, 2)) / total.square().sum().clamp(min=1e-300)
            found.append(along.double().cpu().numpy())
        return found


def _ratio(sums: Array, counts: Array) -> Array:
    found: Array = sums / np.maximum(counts, 1)
    return found


def _added(one: Array, other: Array) -> Array:
    """Sum of arrays of any sizes, the smaller one padded with zeros."""
    shape = tuple(max(sizes) for sizes in zip(one.shape, other.shape, strict=True))
    total = np.zeros(shape, one.dtype)
    for array in (one, other):
        total[tuple(slice(size) for size in array.shape)] += array
    return total


def _rounded(values: Array) -> list[float]:
    """Six digits of each."""
    return [float(f"{value:.6g}") for value in values]
