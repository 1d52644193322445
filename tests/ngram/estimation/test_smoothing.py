"""Discount formulas: hand arithmetic, what they promise, and what they lack."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from unrolled.ngram.estimation.smoothing import (
    KATZ_LIMIT,
    SMOOTHINGS,
    NoClosedFormError,
    absolute_discounts,
    katz_ratios,
    modified_discounts,
)

falling = st.lists(st.integers(1, 10_000), min_size=7, max_size=7).map(
    lambda counts: np.array([0, *sorted(counts, reverse=True)])
)
# About as in language: n_r = N / (r (r + 1)).
zipfian = st.tuples(
    st.integers(1000, 1_000_000), st.lists(st.floats(0.95, 1.05), min_size=6, max_size=6)
).map(lambda drawn: np.array([0, *(drawn[0] * x / (r * r + r) for r, x in enumerate(drawn[1], 1))]))


def test_modified_discounts_by_hand() -> None:
    # Y = 8 / (8 + 2 * 4) = 1/2; D1 = 1 - 2/2 * 4/8, D2 = 2 - 3/2 * 2/4, D3 = 3 - 4/2 * 1/2.
    assert modified_discounts(np.array([9, 8, 4, 2, 1])).tolist() == [0, 0.5, 1.25, 2.0]


def test_without_count_4_count_3_loses_all_of_it() -> None:
    assert modified_discounts(np.array([0, 8, 4, 2, 0]))[3] == 3  # as lmplz has it


def test_absolute_discount_by_hand() -> None:
    assert absolute_discounts(np.array([9, 8, 4, 0, 0])).tolist() == [0, 0.5, 0.5, 0.5]


def test_katz_ratios_by_hand() -> None:
    # n = 120, 40, 20, 12, 8, 5: t = 6 * 5 / 120 = 1/4; d1 = (2 * 40 / 120 - 1/4) / (3/4) = 5/9.
    ratios = katz_ratios(np.array([0, 120, 40, 20, 12, 8, 5]))
    # d2 = (3 * 20 / 2 / 40 - 1/4) * 4/3, d3 = (4 * 12 / 3 / 20 - 1/4) * 4/3, and so on.
    assert ratios == pytest.approx([0, 5 / 9, 2 / 3, 11 / 15, 7 / 9, 2 / 3, 1])


@given(falling)
def test_discounts_lie_within_their_counts(totals: np.ndarray) -> None:
    try:
        discounts = modified_discounts(totals)
    except NoClosedFormError:
        assume(False)
    assert discounts[0] == 0
    assert np.all((discounts >= 0) & (discounts <= [0, 1, 2, 3]))


@given(zipfian)
def test_katz_frees_the_mass_of_the_words_seen_once(totals: np.ndarray) -> None:
    """The constraint from which Katz derives his ratios: sum n_r r (1 - d_r) = n_1."""
    ratios = katz_ratios(totals)
    counts = np.arange(KATZ_LIMIT + 1)
    freed = totals[: KATZ_LIMIT + 1] * counts * (1 - ratios[: KATZ_LIMIT + 1])
    assert freed.sum() == pytest.approx(totals[1])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_missing_count_of_counts_is_named(count: int) -> None:
    totals = np.array([0, 120, 40, 20, 12, 8, 5])
    totals[count] = 0
    for formula in (modified_discounts, absolute_discounts, katz_ratios):
        if formula is absolute_discounts and count == 3:
            continue
        with pytest.raises(NoClosedFormError, match=f"no n-gram has the count {count}"):
            formula(totals)


def test_results_out_of_range_are_named() -> None:
    with pytest.raises(NoClosedFormError, match=r"the discount of count 2 would be -13\.000"):
        modified_discounts(np.array([0, 8, 4, 40, 1]))
    with pytest.raises(NoClosedFormError, match="the ratio of count 2 would be"):
        katz_ratios(np.array([0, 120, 40, 90, 12, 8, 5]))


def test_only_stupid_back_off_is_not_normalised() -> None:
    assert [name for name, method in SMOOTHINGS.items() if not method.normalised] == [
        "stupid-backoff"
    ]
    kneser_ney = {name for name, method in SMOOTHINGS.items() if method.continuation}
    assert kneser_ney == {"modified-kneser-ney", "kneser-ney"}
