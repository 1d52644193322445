from __future__ import annotations

import json
import random

import numpy as np
import pytest

from tag_sequences import pairs
from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.schemes import spans
from unrolled.tagging.scoring.scores import count_spans, score_spans, token_accuracy

SCHEMES = ("IO", "IOB1", "BIO", "IOBES")
COUNTS = (1000, pytest.param(10_000, marks=pytest.mark.slow))


class Conlleval:
    """conlleval's rules as it states them: one pass over word pairs, counters, no spans at all."""

    # What the previous and this prefix must be for a chunk to begin or end between them.
    BEGINS = ("BB", "IB", "OB", "OI", "EE", "EI", "OE", "EB", "SB", "SI", "SE", "OS", "BS", "IS",
              "ES", "SS")  # fmt: skip
    ENDS = ("BB", "BO", "IB", "IO", "EE", "EI", "EO", "EB", "ES", "BS", "IS", "SB", "SI", "SE",
            "SS", "SO")  # fmt: skip

    def __init__(self, gold, predicted):
        self.right, self.found, self.gold = {}, {}, {}
        inside = False
        last = ("O", ""), ("O", "")
        for tags, guesses in zip(gold, predicted, strict=True):
            for pair in [*zip(tags, guesses, strict=True), ("O", "O")]:
                now = tuple(tag.partition("-")[::2] for tag in pair)
                begins = [self.begins(*both) for both in zip(last, now, strict=True)]
                ends = [self.ends(*both) for both in zip(last, now, strict=True)]
                if inside and all(ends):
                    self.count(self.right, last[0][1])
                    inside = False
                elif inside and (any(ends) or now[0][1] != now[1][1]):
                    inside = False
                if all(begins) and now[0][1] == now[1][1]:
                    inside = True
                for begun, counter, tag in zip(begins, (self.gold, self.found), now, strict=True):
                    if begun:
                        self.count(counter, tag[1])
                last = now

    def begins(self, last, now):
        return last[0] + now[0] in self.BEGINS or (now[0] != "O" and last[1] != now[1])

    def ends(self, last, now):
        return last[0] + now[0] in self.ENDS or (last[0] != "O" and last[1] != now[1])

    @staticmethod
    def count(counter, label):
        counter[label] = counter.get(label, 0) + 1


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_are_counted_as_conlleval_does_on_any_tags(scheme, count):
    gold, predicted = pairs(count, scheme, labels=("PER", "LOC", "geo-x", ""))
    scores = score_spans(gold, predicted)
    oracle = Conlleval(gold, predicted)
    for label, (right, found, golden) in zip(scores.labels, scores.counts, strict=True):
        assert oracle.right.get(label, 0) == right
        assert oracle.found.get(label, 0) == found
        assert oracle.gold.get(label, 0) == golden
    assert set(scores.labels) == {*oracle.found, *oracle.gold}
    assert scores.counts[:, 0].min() > count / 20  # nothing is trivial


def seqeval_scores(gold, predicted, **settings):
    metrics = pytest.importorskip("seqeval.metrics")
    return metrics.classification_report(
        gold, predicted, output_dict=True, zero_division=0, **settings
    )


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_scores_are_those_of_seqeval(scheme, count):
    gold, predicted = pairs(count, scheme)
    _equal(score_spans(gold, predicted), seqeval_scores(gold, predicted))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_strict_scores_are_those_of_seqevals_strict_mode(scheme, count):
    schemes = pytest.importorskip("seqeval.scheme")
    kind = {"IOB1": schemes.IOB1, "BIO": schemes.IOB2, "IOBES": schemes.IOBES}[scheme]
    gold, predicted = pairs(count, scheme)
    ours = score_spans(gold, predicted, policy="strict", scheme=scheme)
    _equal(ours, seqeval_scores(gold, predicted, mode="strict", scheme=kind))


def _equal(ours, theirs):
    assert {*theirs} - {"micro avg", "macro avg", "weighted avg"} == {*ours.labels}
    numbers = ours.as_dict()
    for label, row in numbers["by_label"].items():
        assert row["gold"] == theirs[label]["support"]
        for mine, other in (("precision",) * 2, ("recall",) * 2, ("f1", "f1-score")):
            assert row[mine] == pytest.approx(float(theirs[label][other]), abs=1e-15)
    for mine, other in (("precision",) * 2, ("recall",) * 2, ("f1", "f1-score")):
        assert numbers[mine] == pytest.approx(float(theirs["micro avg"][other]), abs=1e-15)
    assert ours.macro_f1 == pytest.approx(float(theirs["macro avg"]["f1-score"]), abs=1e-15)


def test_strict_scores_differ_from_lenient_ones():
    gold, guess = [["B-PER", "I-PER"]], [["I-PER", "I-PER"]]
    assert score_spans(gold, guess).f1 == 1
    assert score_spans(gold, guess, policy="strict").f1 == 0


def test_a_table_like_conllevals():
    # perl conlleval.pl (2004-01-26) of the same tags, label C, whose lines have this form
    gold = [["B-PER", "I-PER", "O", "B-LOC", "O", "O", "B-PER"]]
    guess = [["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC", "B-PER"]]
    assert score_spans(gold, guess).table().splitlines() == [
        "processed 7 tokens with 3 phrases; found: 4 phrases; correct: 2.",
        "accuracy:  71.43%; precision:  50.00%; recall:  66.67%; FB1:  57.14",
        "              LOC: precision:   0.00%; recall:   0.00%; FB1:   0.00  1",
        "              PER: precision:  66.67%; recall: 100.00%; FB1:  80.00  3",
    ]


def test_numbers_for_machines_are_json():
    gold, guess = pairs(50, "BIO")
    numbers = json.loads(json.dumps(score_spans(gold, guess).as_dict()))
    assert numbers["spans_gold"] == sum(len(spans(tags)) for tags in gold)
    assert numbers["accuracy"] == token_accuracy(gold, guess)
    right = [a == b for x, y in zip(gold, guess, strict=True) for a, b in zip(x, y, strict=True)]
    assert numbers["accuracy"] == np.mean(right)
    assert numbers["signature"] == "spans exact, read as conlleval"
    strict = score_spans(gold, guess, policy="strict", scheme="IOB2")
    assert strict.signature == "spans exact, read as strict BIO"


def test_statistics_of_sentences_add_up_to_the_score():
    gold, guess = pairs(200, "IOBES")
    counts = count_spans(gold, guess)
    part = random.Random(2).sample(range(200), 77)
    some = score_spans([gold[i] for i in part], [guess[i] for i in part])
    assert counts.score(counts.rows[part].sum(axis=0)) == some.f1


def test_nothing_predicted_or_nothing_at_all_is_zero():
    assert score_spans([["B-X"]], [["O"]]).f1 == 0
    nothing = score_spans([], [])
    assert (nothing.f1, nothing.precision, nothing.accuracy, nothing.macro_f1) == (0, 0, 0, 0)
    assert nothing.table() == "processed 0 tokens with 0 phrases; found: 0 phrases; correct: 0."


def test_tags_that_do_not_stand_side_by_side_are_refused():
    with pytest.raises(TextError, match="1 sentences are predicted for 2 of the gold tags"):
        score_spans([["O"], ["O"]], [["O"]])
    with pytest.raises(TextError, match="sentence 2: 1 tags are predicted for 2 words"):
        score_spans([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(SettingError, match="list of sentences"):
        score_spans(["O", "O"], ["O", "O"])
