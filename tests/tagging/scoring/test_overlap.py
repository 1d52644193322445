from __future__ import annotations

import pytest

from tag_sequences import pairs
from unrolled.errors import TextError
from unrolled.tagging.scoring.overlap import OverlapCounts, count_overlap, score_overlap


def expressions(tags):
    """The words of each expression, as a set: it begins at B, at I after O or another label."""
    found = []
    last = "O"
    for rank, tag in enumerate(tags):
        if tag[0] == "B" or (tag[0] == "I" and (last == "O" or last[1:] != tag[1:])):
            found.append((tag[1:], {rank}))
        elif tag[0] == "I":
            found[-1][1].add(rank)
        last = tag
    return found


def brute_force(gold, predicted):
    """P and R of each measure from all pairs of all sets of words."""
    sums = dict.fromkeys(("pp", "pr", "bp", "br", "gold", "found"), 0.0)
    for tags, guess in zip(gold, predicted, strict=True):
        rights, guesses = expressions(tags), expressions(guess)
        sums["gold"] += len(rights)
        sums["found"] += len(guesses)
        for label, words in guesses:
            shared = [words & other for name, other in rights if name == label]
            sums["pp"] += sum(len(both) / len(words) for both in shared)
            sums["bp"] += any(shared)
        for label, words in rights:
            shared = [words & other for name, other in guesses if name == label]
            sums["pr"] += sum(len(both) / len(words) for both in shared)
            sums["br"] += any(shared)
    return sums


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("labels", [("",), ("DSE", "ESE")])
@pytest.mark.parametrize("scheme", ["IO", "IOB1", "BIO"])
def test_scores_equal_those_of_all_pairs(scheme, labels, count):
    gold, predicted = pairs(count, scheme, labels=labels)
    ours = score_overlap(gold, predicted).as_dict()
    sums = brute_force(gold, predicted)
    for name, p, r in (("proportional", "pp", "pr"), ("binary", "bp", "br")):
        precision, recall = sums[p] / sums["found"], sums[r] / sums["gold"]
        assert ours[f"{name}_precision"] == pytest.approx(precision, abs=1e-12)
        assert ours[f"{name}_recall"] == pytest.approx(recall, abs=1e-12)
        both = 2 * precision * recall / (precision + recall)
        assert ours[f"{name}_f1"] == pytest.approx(both, abs=1e-12)
        assert 0.3 < both < 0.95


def test_by_hand():
    # Gold: words 0-3; found: 0, 2-5. Precision (1/1 + 2/4) / 2, recall (1/4 + 2/4) / 1.
    scores = score_overlap([["B", "I", "I", "I", "O", "O"]], [["B", "O", "B", "I", "I", "I"]])
    numbers = scores.as_dict()
    assert numbers["proportional_precision"] == 0.75
    assert numbers["proportional_recall"] == 0.75
    assert (numbers["binary_precision"], numbers["binary_recall"]) == (1, 1)
    assert (numbers["spans_predicted"], numbers["spans_gold"]) == (2, 1)


def test_the_counts_give_both_measures():
    counts = count_overlap(*pairs(100, "BIO"))
    total = counts.rows.sum(axis=0)
    assert counts.score(total) == pytest.approx(counts.total().proportional_f1, abs=1e-15)
    binary = OverlapCounts(counts.rows, "binary")
    assert binary.score(total) == pytest.approx(counts.total().binary_f1, abs=1e-15)


def test_no_spans_give_zero():
    assert score_overlap([["O"]], [["O"]]).proportional_f1 == 0
    assert score_overlap([["B"]], [["O"]]).binary_f1 == 0


def test_sides_of_different_lengths_are_refused():
    with pytest.raises(TextError, match="sentence 1: 0 tags are predicted for 1 words"):
        score_overlap([["B"]], [[]])
