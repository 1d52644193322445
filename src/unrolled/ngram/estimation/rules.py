"""What a smoothing method takes from counts: discounts, ratios, and the unigrams."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from unrolled.errors import TextError, UnrolledWarning
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.leave_one_out import WholeHistories, leave_one_out_delta
from unrolled.ngram.estimation.smoothing import (
    SMOOTHINGS,
    NoClosedFormError,
    Smoothing,
    katz_ratios,
)
from unrolled.text.vocabulary import BOS, UNK

Array = np.ndarray[Any, Any]


class Rules:
    """The numbers of a smoothing method, an order at a time, lowest first.

    Attributes:
        config: the settings. smoothing: the method.
        discounts: what was taken from counts, an order a row.
        deltas: what was added to them by order, where leave-one-out chose it.
        predicted: words that have a probability.
    """

    def __init__(self, config: NgramConfig, vocabulary_size: int) -> None:
        self.config = config
        self.smoothing: Smoothing = SMOOTHINGS[config.smoothing]
        self.discounts: list[list[float]] = []
        self.deltas: dict[int, float] = {}
        self.predicted = vocabulary_size - 1  # all words but <s>

    @property
    def leaves_one_out(self) -> bool:
        """Whether each order from 2 needs `choose_delta` before `interpolation`."""
        return self.config.smoothing == "additive" and self.config.delta is None

    def choose_delta(self, length: int, counted: WholeHistories) -> None:
        """Choose the delta of one order by leave-one-out.

        Raises:
            TextError: with ``strict``, if the likelihood has no maximum.
        """
        delta = leave_one_out_delta(counted, self.uniform_size)
        if delta is None:
            self._warn(f"order {length}: no delta is likeliest by leave-one-out", "delta 1")
            delta = 1.0
        self.deltas[length] = delta

    def record(self) -> dict[str, Any]:
        """What a model file keeps: discounts, and deltas that were chosen, by order."""
        if not self.deltas:
            return {"discounts": self.discounts}
        deltas = [self.deltas.get(length) for length in range(1, self.config.order + 1)]
        return {"discounts": self.discounts, "deltas": deltas}

    def interpolation(self, length: int, totals: Array) -> tuple[Array, float, float]:
        """Discounts D(0..3+), mass for a kind of word seen, and for each context besides.

        Args:
            totals: (8,) counts of counts of the order.

        Raises:
            TextError: with ``strict``, if the discounts have no closed form.
        """
        discounts = self._discounts(length, totals)
        self.discounts.append(discounts[1:].tolist())
        extra = 0.0
        if self.config.smoothing == "additive":
            extra = self._delta(length) * self.uniform_size
        return discounts, self.smoothing.types_weight, extra

    def katz(self, length: int, totals: Array) -> Array:
        """Katz's ratios d(r), (7,) float64, from counts of counts (8,).

        Raises:
            TextError: with ``strict``, if they have no closed form.
        """
        try:
            ratios = katz_ratios(totals)
        except NoClosedFormError as lack:
            self._fall_back(length, lack, "the discounts of counts 1 to 3 as ratios")
            ratios = np.ones(4)
            ratios[0] = 0
            for count, discount in enumerate(self.config.discount_fallback, 1):
                ratios[min(count, 3)] = 1 - discount / count
            ratios = np.append(ratios, 1.0)
        self.discounts.append(ratios[1:-1].tolist())
        return ratios

    def unigrams(self, counts: Array) -> Array:
        """Probabilities of order 1 from its counts, both (V,), in double precision.

        Raises:
            TextError: with ``strict``, if the discounts have no closed form.
        """
        used = counts.astype(np.float64)
        used[BOS] = 0  # it is never predicted
        totals = np.bincount(used[used < 8].astype(np.int64), minlength=8)
        totals[0] -= 1
        if self.config.closed and used[UNK] == 0:
            self.predicted -= 1
        total = used.sum()
        extra = 0.0
        if self.config.smoothing == "katz":
            ratios = self.katz(1, totals)
            kept = used * ratios[np.minimum(used, ratios.size - 1).astype(np.int64)]
        else:
            discounts = self._discounts(1, totals)
            self.discounts.append(discounts[1:].tolist())
            kept = np.maximum(used - discounts[np.minimum(used, 3).astype(np.int64)], 0)
            if self.config.smoothing == "additive":
                if self.leaves_one_out and self.config.order == 1:
                    self.choose_delta(
                        1, WholeHistories.of(np.array([used.size]), used.astype(np.int64))
                    )
                extra = self._delta(1) * self.uniform_size
            extra += self.smoothing.types_weight * np.count_nonzero(used)
        reserved = total - kept.sum() + extra
        probabilities: Array = kept / (total + extra)
        if self.config.interpolate_unigrams or self.config.smoothing == "additive":
            probabilities += reserved / (total + extra) / self.uniform_size
        else:
            probabilities[UNK] += reserved / (total + extra)
        probabilities[BOS] = 0
        if self.config.closed and used[UNK] == 0:
            probabilities[UNK] = 0
        return probabilities

    @property
    def uniform_size(self) -> int:
        """Words that share the uniform distribution below order 1."""
        return max(self.predicted, self.config.vocabulary_pad)

    def _delta(self, length: int) -> float:
        """What additive smoothing adds; below the highest order 1 has no use for it."""
        return self.deltas.get(length, self.config.delta or 1.0)

    def _discounts(self, length: int, totals: Array) -> Array:
        """D(0..3+) of one order, from its own counts of counts (8,) or from the fallback."""
        formula = self.smoothing.discounts
        if formula is None:
            return np.zeros(4)
        try:
            return formula(totals)
        except NoClosedFormError as lack:
            self._fall_back(length, lack, f"discounts {self.config.discount_fallback}")
            return np.array([0.0, *self.config.discount_fallback])

    def _fall_back(self, length: int, lack: NoClosedFormError, instead: str) -> None:
        self._warn(
            f"order {length}: {lack}, so {self.smoothing.title} has no closed form there", instead
        )

    def _warn(self, message: str, instead: str) -> None:
        if self.config.strict:
            raise TextError(message, hint="Use more text, or leave out strict")
        warnings.warn(f"{message}; using {instead}", UnrolledWarning, stacklevel=5)
