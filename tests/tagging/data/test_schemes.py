from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag_sequences import pairs
from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.notation import notation_named
from unrolled.tagging.data.schemes import Span, convert, detect_scheme, spans, tags_of

SCHEMES = ("IO", "IOB1", "BIO", "IOE1", "IOE2", "IOBES")


@st.composite
def span_lists(draw):
    """Spans that do not overlap, many of them touching, in up to 12 words."""
    found, at = [], 0
    for _ in range(draw(st.integers(0, 4))):
        at += draw(st.integers(0, 2))
        end = at + draw(st.integers(1, 3))
        found.append(Span(at, end, draw(st.sampled_from(["PER", "LOC", ""]))))
        at = end
    return found, at + draw(st.integers(0, 2))


@given(span_lists(), st.sampled_from(SCHEMES[1:]))
def test_spans_become_tags_and_tags_the_same_spans(drawn, scheme):
    found, size = drawn
    tags = tags_of(found, size, scheme)
    assert spans(tags) == found
    if scheme != "IOB1":  # seqeval's strict IOB1 loses some well-formed spans
        assert spans(tags, "strict", scheme) == found


@given(span_lists(), st.sampled_from(SCHEMES[1:]), st.sampled_from(SCHEMES))
def test_converting_there_and_back_changes_nothing(drawn, source, target):
    found, size = drawn
    tags = tags_of(found, size, source)
    there = convert(tags, source, target, policy="refuse")
    if target != "IO":
        assert convert(there, target, source, policy="refuse") == tags
    assert [tag == "O" for tag in there] == [tag == "O" for tag in tags]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_repairing_keeps_every_tagged_word_and_label(scheme):
    for tags in pairs(500, scheme)[0]:
        for target in SCHEMES:
            new = convert(tags, scheme, target)
            assert [tag.partition("-")[2] for tag in new] == [tag.partition("-")[2] for tag in tags]
            assert convert(new, target, target, policy="refuse") == new


@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_the_scheme_of_many_sentences_is_found(scheme):
    random_ = random.Random(3)
    sentences = []
    for _ in range(200):
        found, at = [], 0
        for _ in range(random_.randint(0, 4)):
            at += random_.randint(0, 2)
            end = at + random_.randint(1, 3)
            found.append(Span(at, end, random_.choice(["PER", "LOC"])))
            at = end
        sentences.append(tags_of(found, at, scheme))
    assert detect_scheme(sentences) == scheme
    sentences[7] = ["I-PER", "I-PER"]  # a broken one, if it is one, does not change that
    assert detect_scheme(sentences) == scheme


def test_schemes_of_few_tags():
    assert detect_scheme([["O", "O"]]) == "BIO"
    assert detect_scheme([["I-X", "I-Y"]]) == "IO"
    assert detect_scheme([["B", "I", "O"]]) == "BIO"
    assert detect_scheme([["B-X", "E-X"]]) == "IOBES"
    assert detect_scheme([["E-X", "O", "I-Y", "E-Y"]]) == "IOE2"
    assert detect_scheme([["I-X", "E-X", "I-X", "O", "I-Y"]]) == "IOE1"
    assert detect_scheme([["O", "COMMA"], ["PERIOD"]]) == "none"
    assert detect_scheme([[]]) == "BIO"


def test_mixed_schemes_are_refused_with_their_place():
    iobes, bio = ["S-X", "O", "B-X", "E-X"], ["B-X", "I-X", "O", "B-X"]
    with pytest.raises(TextError, match="names.txt:9: tags of IOBES are mixed .* 2 of 4 spans"):
        detect_scheme([iobes, bio], places=["names.txt:1", "names.txt:9"])
    with pytest.raises(TextError, match="sentence 2: tags of IOBES"):
        detect_scheme([iobes, bio])
    with pytest.raises(
        TextError,
        match="sentence 2: the tag 'X-PER' is not written as .* BIO. Cor",
    ):
        detect_scheme([["B-PER", "O", "B-PER"], ["O", "X-PER"]])


def test_a_broken_sequence_is_repaired_or_refused():
    tags = ["O", "I-PER", "I-PER", "I-LOC"]
    assert convert(tags, "BIO", "BIO") == ["O", "B-PER", "I-PER", "B-LOC"]
    message = "x.txt:3: the tag 'I-PER' of word 2, after 'O', is not allowed in BIO"
    with pytest.raises(TextError, match=message):
        convert(tags, "BIO", "IOBES", policy="refuse", place="x.txt:3")
    with pytest.raises(TextError, match="word 1, after the start"):
        convert(["E-X"], "IOBES", "BIO", policy="refuse")
    assert convert(["NN", "VB"], "none", "none", policy="refuse") == ["NN", "VB"]


def test_strict_spans_need_the_schemes_own_tags():
    with pytest.raises(TextError, match="the tag 'S-X' of word 2 is not one of BIO. .* B, I, O"):
        spans(["O", "S-X"], "strict", "BIO")
    with pytest.raises(SettingError, match="strict spans need a scheme"):
        spans(["NN"], "strict", "none")


@pytest.mark.parametrize("scheme", ["BIO", "IOE2", "IOBES"])
def test_strict_spans_are_those_of_seqeval(scheme):
    schemes = pytest.importorskip("seqeval.scheme")
    names = {"BIO": "IOB2"}
    for tags in pairs(500, scheme)[0]:
        (found,) = schemes.Entities([tags], getattr(schemes, names.get(scheme, scheme))).entities
        expected = [Span(one.start, one.end, one.tag) for one in found]
        assert spans(tags, "strict", scheme) == expected


def test_brackets_that_are_broken():
    assert convert(["(A*", "(B*", "*"], "BRACKETS", "BIO") == ["B-A", "B-B", "I-B"]
    assert convert(["*)", "(A*)"], "BRACKETS", "BIO") == ["O", "B-A"]
    message = (
        r"t:1: the tag '\*\)' of word 1, after the start, is not allowed in BRACKETS, where '\*'"
    )
    with pytest.raises(TextError, match=message):
        convert(["*)", "(A*)"], "BRACKETS", "BIO", policy="refuse", place="t:1")
    with pytest.raises(SettingError, match=r"Write a span of one word .* \(X\*\), \(X\)"):
        notation_named("BRACKETS X")
    with pytest.raises(TextError, match="s:2: the tag 'PER' is not written as most .* BRACKETS"):
        detect_scheme([["(PER*", "*)", "*"], ["PER"]], places=["s:1", "s:2"])


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(SettingError, match="the tag scheme is 'BIX', allowed are IO, IOB1, BIO"):
        notation_named("BIX")
    assert [notation_named(name).scheme for name in ("iob2", "BIOES", "io", "none")] == [
        "BIO", "IOBES", "IO", "none",
    ]  # fmt: skip
    with pytest.raises(SettingError, match="the policy is 'lax', allowed are conlleval and strict"):
        spans(["O"], "lax")
    with pytest.raises(SettingError, match="the policy is 'lax', allowed are repair and refuse"):
        convert(["O"], "BIO", "BIO", policy="lax")
    with pytest.raises(SettingError, match="overlaps"):
        tags_of([Span(0, 2, "X"), Span(1, 3, "X")], 3)
    with pytest.raises(SettingError, match="passes 3 words"):
        tags_of([Span(2, 4, "X")], 3)
    with pytest.raises(SettingError, match="no tags in the scheme none"):
        tags_of([], 3, "none")
