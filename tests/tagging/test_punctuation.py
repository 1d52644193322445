from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import SettingError, TextError
from unrolled.tagging.punctuation import (
    LONGEST,
    TAGS,
    bare_words,
    punctuation_data,
    punctuation_sentences,
    restore,
    restores_punctuation,
    score_punctuation,
    split_punctuation,
)

WORDS = st.sampled_from(["so", "don't", "well-known", "1,000", "x", "e.g", "naïve", "o'clock"])
TAGGED = st.lists(st.tuples(WORDS, st.sampled_from(TAGS)), max_size=20)


@given(TAGGED)
def test_what_is_restored_is_taken_apart_again(pairs):
    words, tags = [word for word, _ in pairs], [tag for _, tag in pairs]
    text = restore(words, tags)
    again, their = bare_words(text)
    assert again == words
    for word, tag, other in zip(words, tags, their, strict=True):
        same_case = word[0].isdigit() or (word == "x" and tag.startswith("UPPER"))
        assert split_punctuation(tag)[1] == split_punctuation(other)[1]
        assert same_case or tag == other


@given(st.text(st.one_of(st.characters(), st.sampled_from("aB .,?!'-")), max_size=40))
def test_any_text_gives_tags_that_are_known(text):
    words, tags = bare_words(text)
    assert len(words) == len(tags)
    assert set(tags) <= set(TAGS)
    assert all(word and word == word.lower() for word in words)


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("\"Well,\" said McAdam--who knew--'go?!'", "Well, said Mcadam who knew go?"),
        ("he did n't , said god 's son .", "he didn't, said god's son."),
        ("He didn't, said God's son.", "He didn't, said God's son."),
        ("At 10:30, 1,000.5 U.S. men (all) won; e.g. I: yes…",
         "At 10:30, 1,000.5 U.S. men all won; e.g. I: yes."),
        ("Rock 'n' roll, the dogs' bones.", "Rock n roll, the dogs bones."),
        ("... , Hello", "Hello"),
        ("foo_bar --", "foo_bar"),
    ],
)  # fmt: skip
def test_texts(text, back):
    assert restore(*bare_words(text)) == back


def test_examples_are_whole_sentences_within_paragraphs(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("Title without end\n\nOne two,\nthree. Four? Five!\n\nSix. Seven. " * 20)
    examples = list(punctuation_sentences(file))
    joined = [word for example in examples for word in example.words]
    assert joined == bare_words(file.read_text())[0]
    assert all(len(example.words) == len(example.tags) for example in examples)
    ends = [example.tags[-1] for example in examples]
    assert all(tag[-1] in ".?!" or example.words[-1] == "end"
               for tag, example in zip(ends, examples, strict=True))  # fmt: skip
    many = {sum(tag[-1] in ".?!" for tag in example.tags) for example in examples}
    assert many >= {1, 2, 3}
    assert max(many) <= 4
    assert examples[1].place == f"{file}:3"
    assert [e.tags for e in punctuation_sentences(file)] == [e.tags for e in examples]


def test_endless_sentences_are_cut_and_nothing_is_lost(tmp_path):
    file = tmp_path / "text.txt.gz"
    text = " ".join(["Go on."] + ["and so on"] * 200 + ["and stop.", "Yes."])
    file.write_bytes(gzip.compress(text.encode()))
    examples = list(punctuation_sentences(str(file)))
    assert [w for e in examples for w in e.words] == bare_words(text)[0]
    assert max(len(e.words) for e in examples) == LONGEST


def test_text_without_marks_is_refused(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("only words\nand more words\n")
    with pytest.raises(TextError, match=r"text.txt: the text has no punctuation to learn from"):
        list(punctuation_sentences(str(file)))


def test_a_lower_case_tagger_still_begins_sentences_with_a_capital():
    words, tags = ["who", "is", "it", "me"], ["lower", "lower", "lower?", "lower."]
    assert restore(words, tags) == "who is it? me."
    assert restore(words, tags, sentence_case=True) == "Who is it? Me."


def test_scores_count_marks_and_capitals_apart():
    gold = [["Capital", "lower,", "UPPER."], ["lower?"]]
    guess = [["Capital", "lower.", "lower."], ["lower"]]
    scores = score_punctuation(gold, guess)
    numbers = json.loads(json.dumps(scores.as_dict()))
    # Marks: 1 right of 2 predicted and 3 in the text. Capitals: 1 of 1 and of 2.
    assert scores.mark_f1 == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scores.case_f1 == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert numbers["accuracy"] == 0.25
    assert numbers["by_name"]["."] == {"precision": 0.5, "recall": 1, "f1": 2 / 3, "gold": 1}
    assert "UPPER" in scores.table()
    assert "!" not in scores.table()
    assert score_punctuation([], []).as_dict()["mark_f1"] == 0


def test_tags_of_other_tasks_are_refused():
    with pytest.raises(
        TextError, match="the tag 'B-PER' is not one of punctuation. Allowed are lo"
    ):
        restore(["a"], ["B-PER"])
    with pytest.raises(TextError, match="1 tags for 2 words"):
        restore(["a", "b"], ["lower"])
    assert not restores_punctuation(["lower", "B-PER"])
    with pytest.raises(TextError, match="sentence 1: 2 tags are predicted for 1 words"):
        score_punctuation([["lower"]], [["lower", "lower"]])


def test_the_last_examples_are_held_out_unless_others_are_given(tmp_path):
    text, other = tmp_path / "text.txt", tmp_path / "other.txt"
    text.write_text("One, two.\n\n" * 100)
    other.write_text("Three!\n")
    train, valid = punctuation_data(text)
    assert (len(train), len(valid)) == (95, 5)
    train, valid = punctuation_data(text, other)
    assert (len(train), [example.words for example in valid]) == (100, [("three",)])
    with pytest.raises(TextError, match="the text has 1 examples, and 20 or more are needed"):
        punctuation_data(other)


def test_text_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Jos\xe9 ran. He fell.\n", encoding="latin-1")
    (first, *_) = punctuation_sentences(str(tmp_path / "t.txt"), encoding="latin-1")
    assert first.words[0] == "jos\xe9"
    with pytest.raises(TextError, match="the byte 0xe9 is not utf-8"):
        list(punctuation_sentences(str(tmp_path / "t.txt")))
    with pytest.raises(SettingError, match="the encoding 'wide' is unknown"):
        list(punctuation_sentences(str(tmp_path / "t.txt"), encoding="wide"))
