"""Every scheme in every notation: written, found, read back, and scored as seqeval does."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag_sequences import pairs
from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.tagging.config import TaggerConfig
from unrolled.tagging.data.brackets import FORMS
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.notation import SCHEMES, Notation, notation_named
from unrolled.tagging.data.schemes import Span, convert, detect_scheme, spans, tags_of
from unrolled.tagging.data.tags import TagSet
from unrolled.tagging.scoring.scores import score_spans
from unrolled.tagging.training_data import tag_set

NOTATIONS = [
    Notation(scheme, separator, suffix, lower, "o" if lower else "O")
    for scheme, separator, suffix, lower in product(SCHEMES, "-_:./", (False, True), (False, True))
    if scheme != "BRACKETS"
]
NOTATIONS += [notation_named(f"BRACKETS {form}") for form in FORMS]
LABELS = ("PER", "geo_loc", "x-y", "Müller", "B2")


def random_spans(chance: random.Random, labels: tuple[str, ...] = LABELS) -> tuple[list[Span], int]:
    found, at = [], 0
    for _ in range(chance.randint(0, 4)):
        at += chance.randint(0, 2)
        end = at + chance.randint(1, 4)
        found.append(Span(at, end, chance.choice(labels)))
        at = end
    return found, at + chance.randint(1, 3)


def apart(found: list[Span]) -> list[Span]:
    """Without the spans that touch another, which IO cannot tell apart."""
    return [span for before, span in zip([None, *found], found, strict=False)
            if before is None or before.end < span.start]  # fmt: skip


@given(st.integers(0, 2**32), st.sampled_from(NOTATIONS))
def test_spans_are_written_and_read_back_in_every_notation(seed, notation):
    found, size = random_spans(random.Random(seed))
    found = apart(found) if notation.scheme == "IO" else found
    tags = tags_of(found, size, notation.name)
    assert spans(tags, scheme=notation.name) == found
    assert notation_named(notation.name) == notation
    assert convert(tags, notation.name, notation.name, policy="refuse") == tags
    there = convert(tags, notation.name, "BIO")
    assert convert(there, "BIO", notation.name) == tags
    if any(tag != notation.outside for tag in tags):
        names = TagSet.of([tags], "IOBES", output_scheme=notation.name)
        ids = names.encode([tags])
        assert names.decode(ids, np.array([0, size])) == [tags]


FILES = (10, pytest.param(1000, marks=pytest.mark.slow))


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("notation", NOTATIONS, ids=lambda notation: notation.name)
def test_the_notation_of_random_files_is_found(notation, files):
    chance = random.Random(notation.name)
    for _ in range(files):
        drawn = [random_spans(chance) for _ in range(40)]
        if notation.scheme == "IO":
            drawn = [(apart(found), size) for found, size in drawn]
        # Only neighbours of one label tell IOB1 and IO apart.
        drawn.append(([Span(0, 1, "PER"), Span(2, 3, "PER")], 3))
        if notation.scheme != "IO":
            drawn.append(([Span(0, 1, "PER"), Span(1, 2, "PER")], 2))
        tags = [tags_of(found, size, notation.name) for found, size in drawn]
        assert detect_scheme(tags) == notation.name


@pytest.mark.parametrize("notation", [n for n in NOTATIONS if n.scheme != "IOB1"][::3],
                         ids=lambda notation: notation.name)  # fmt: skip
def test_scores_are_those_of_seqeval_of_the_same_spans(notation):
    f1 = pytest.importorskip("seqeval.metrics").f1_score
    base = notation.base
    gold, guesses = pairs(60, base, seed=len(notation.name))
    if base == "IOBES":  # well-formed, so that both notations mean the same spans
        gold, guesses = ([convert(tags, base, base) for tags in side] for side in (gold, guesses))
    written = [[notation.written(tags) for tags in side] for side in (gold, guesses)]
    ours = score_spans(*written)
    assert ours.are_spans
    assert ours.f1 == pytest.approx(float(f1(gold, guesses, zero_division=0)), abs=1e-15)
    assert ours.f1 == score_spans(written[0], guesses).f1


@pytest.mark.parametrize(
    "tags",
    [
        [["DT", "NN", "VB"]],
        [["NAME", "PLACE", "O"]],
        [["N.S", "V.S", "N.P"]],
        [["e-mail", "web", "O", "web"]],
        [["X-PER", "Y-PER", "O"]],
        [["(", "NN", ")"]],
        [["(S(NP*", "*))", "(VP*))"]],
        [["n", "v", "m", "w", "u", "b", "s"]],
    ],
)
def test_other_tags_are_plain_labels(tags):
    assert detect_scheme(tags) == "none"
    scores = score_spans(tags, tags)
    assert not scores.are_spans
    assert scores.f1 == scores.accuracy == 1


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ([["B", "M", "E", "S"]], "BMES"),
        ([["B", "E", "S", "B", "E"]], "BMES"),
        ([["b", "i", "o"]], "BIO b-X"),
        ([["b-per", "i-per", "O"]], "BIO b-X O"),
        ([["B-PER", "L-PER", "O", "U-LOC"]], "BILOU"),
        ([["PER_B", "PER_I", "O"]], "BIO X_B"),
        ([["B|geo-loc", "I|geo-loc", "O"]], "BIO B|X"),
        ([["I-PER", "E-PER", "O", "E-LOC"]], "IOE2"),
        ([["I-PER", "E-PER", "I-PER", "O", "I-LOC"]], "IOE1"),
        ([["(PER*", "*", "*)", "*"]], "BRACKETS"),
        ([["(PER)", "(ORG*", "*)", "*"]], "BRACKETS (X)"),
        ([["(V*V)", "(A1*", "*A1)", "*"]], "BRACKETS (X*X)"),
    ],
)
def test_small_files(tags, scheme):
    assert detect_scheme(tags) == scheme


def test_tags_that_are_all_wrong_have_no_f1():
    scores = score_spans([["DT", "NN", "VB"]], [["NN", "VB", "DT"]])
    assert (scores.accuracy, scores.f1, scores.precision, scores.recall) == (0, 0, 0, 0)
    assert scores.labels == ("DT", "NN", "VB")
    assert scores.as_dict()["by_label"]["NN"]["gold"] == 1
    assert "phrases" not in scores.table()
    names = score_spans([["NAME", "O", "PLACE", "O"]], [["NAME", "O", "O", "NAME"]])
    assert (names.accuracy, names.precision, names.recall) == (0.5, 0.5, 0.5)
    assert names.as_dict()["tags_gold"] == 2


def test_mixed_tags_are_refused_with_a_remedy():
    tags = [["B_PER", "I_PER", "O"], ["B_PER", "PER"]]
    with pytest.raises(TextError, match="t:9: the tag 'PER' is not written as .* BIO B_X. Correct"):
        detect_scheme(tags, places=["t:1", "t:9"])
    with pytest.raises(TextError, match="tags of BILOU are mixed .* the scheme none"):
        detect_scheme([["L-X", "O", "B-X", "U-X"]])
    for name in ("BIO B*X", "BIO XB", "BIO B_X O O"):
        with pytest.raises(SettingError, match="Write a tag with the label X"):
            notation_named(name)


def test_plain_labels_with_an_o_are_warned_of_in_training():
    data = [TaggedSentence(("Ann", "ran"), ("NAME", "O"))]
    with pytest.warns(UnrolledWarning, match=r"the tags \(NAME, ...\) are of no known .* plain"):
        assert not tag_set(data, TaggerConfig()).has_spans
    assert not tag_set(data, TaggerConfig(scheme="none")).has_spans
    mixed = [TaggedSentence(("a", "b", "c"), ("B-X", "B-Y", "X"))]
    assert tag_set(mixed, TaggerConfig(scheme="none")).names == ["B-X", "B-Y", "X"]
    bilou = tag_set([TaggedSentence(("Ann", "ran"), ("U-X", "O"))], TaggerConfig())
    assert (bilou.scheme, bilou.output_scheme) == ("IOBES", "BILOU")
