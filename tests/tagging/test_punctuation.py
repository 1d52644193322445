from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.bare_text import MEANING, split_punctuation
from unrolled.tagging.punctuation import (
    LONGEST,
    TAGS,
    bare_words,
    punctuation_data,
    punctuation_sentences,
    restore,
    restore_text,
    restores_punctuation,
)
from unrolled.tagging.scoring.punctuation_scores import score_punctuation

bare_words("The first use compiles a pattern, which is not the time of any one test.")
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


def test_scores_count_marks_and_capitals_apart():
    gold = [["Capital", "lower,", "UPPER."], ["lower?"]]
    guess = [["Capital", "lower.", "lower."], ["lower"]]
    scores = score_punctuation(gold, guess)
    numbers = json.loads(json.dumps(scores.as_dict()))
    # Marks: 1 right of 2 predicted and 3 in the text. Capitals: 1 of 1 and of 2.
    assert scores.mark_f1 == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scores.case_f1 == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert numbers["accuracy"] == 0.25
    row = {"precision": 0.5, "recall": 1, "f1": 2 / 3, "right": 1, "predicted": 2, "gold": 1}
    assert numbers["by_name"]["."] == row
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


SAMPLES = {
    "Hindi": ("नमस्ते दुनिया। क्या हाल है?", ["नमस्ते", "दुनिया।", "क्या", "हाल", "है?"]),
    "Bengali": ("আমি ভালো আছি। তুমি কেমন আছ?", ["আমি", "ভালো", "আছি।", "তুমি", "কেমন", "আছ?"]),
    "Tamil": ("வணக்கம், நலமா? நன்றி.", ["வணக்கம்,", "நலமா?", "நன்றி."]),
    "Telugu": ("మీరు ఎలా ఉన్నారు?", ["మీరు", "ఎలా", "ఉన్నారు?"]),
    "Malayalam": ("സുഖമാണോ? അതെ.", ["സുഖമാണോ?", "അതെ."]),
    "Arabic": ("مَرْحَبًا، كَيْفَ حَالُكَ؟ بِخَيْرٍ.", ["مَرْحَبًا،", "كَيْفَ", "حَالُكَ؟", "بِخَيْرٍ."]),
    "Urdu": ("آپ کیسے ہیں؟ ٹھیک ہوں۔", ["آپ", "کیسے", "ہیں؟", "ٹھیک", "ہوں۔"]),
    "Persian": ("می\u200cخواهم بروم؛ نه؟", ["می\u200cخواهم", "بروم؛", "نه؟"]),
    "Hebrew": ('שָׁלוֹם, צה"ל בית־ספר.', ["שָׁלוֹם,", 'צה"ל', "בית־ספר."]),
    "Chinese": ("你好，世界。好吗？", ["你", "好，", "世", "界。", "好", "吗？"]),
    "Japanese": ("はい、がぎ。", ["は", "い、", "が", "ぎ。"]),
    "Korean": ("안녕하세요, 잘 지내요?", ["안녕하세요,", "잘", "지내요?"]),
    "Thai": ("ที่นี่ ดี?", ["ที่", "นี่", "ดี?"]),
    "Khmer": ("ស្រី។", ["ស្រី។"]),
    "Burmese": ("မင်္ဂ၊", ["မ", "င်္ဂ၊"]),
    "Armenian": ("Ինչպե՞ս ես։ Լավ, դու՞։", ["Ինչպես՞", "ես։", "Լավ,", "դու՞"]),
    "Amharic": ("ሰላም፣ እንዴት ነህ፧ ደህና።", ["ሰላም፣", "እንዴት", "ነህ፧", "ደህና።"]),
    "Greek": ("Τι κάνεις; Καλά· εσύ;", ["Τι", "κάνεις;", "Καλά·", "εσύ;"]),
    "Russian": ("Привет, как дела?", ["Привет,", "как", "дела?"]),
    "Tibetan": ("བཀྲ་ཤིས།", ["བཀྲ", "ཤིས།"]),
    "Georgian": ("გამარჯობა, როგორ ხარ?", ["გამარჯობა,", "როგორ", "ხარ?"]),
    "Vietnamese": ("Bạn khỏe không? Vâng.", ["Bạn", "khỏe", "không?", "Vâng."]),
    "Turkish": ("İyi misin? Iyi.", ["İyi", "misin?", "Iyi."]),
    "French in NFD": ("Le nai\u0308f, a` la cafe\u0301!", ["Le", "naïf,", "a", "la", "café!"]),
    "Spanish": ("¿Qué tal, José?", ["Qué", "tal,", "José?"]),
    "German": ("Das kostet 5 €: groß!", ["Das", "kostet", "5:", "groß!"]),
}


@pytest.mark.parametrize("language", SAMPLES)
def test_words_stay_whole_and_marks_are_found_in_every_script(language):
    text, marked = SAMPLES[language]
    words, tags = bare_words(text)
    marks = [split_punctuation(tag)[1] for tag in tags]
    assert [w + m for w, m in zip(words, marks, strict=True)] == [w.lower() for w in marked]
    assert restores_punctuation(tags)
    cases = [split_punctuation(tag)[0] for tag in tags]
    for case, word in zip(cases, marked, strict=True):
        assert (case != "lower") == word[0].isupper()
    # Marks that are there stay; and where they are taken away, their tags bring them back.
    assert restore_text(text, tags).casefold() == text.casefold()
    renewed = restore_text(text, tags, marks="renew")
    assert bare_words(renewed) == (words, tags)


def without_marks(text):
    return "".join(sign for sign in text if sign not in MEANING).casefold()


@st.composite
def any_text(draw):
    """Text of all of Unicode, with much of what is between and inside words."""
    signs = st.sampled_from("aB .,?!'-()%$@\n·;՞՜。،\u0301\u200d\u3000你ก\u0e31ΣßİǅI")
    return draw(st.text(st.one_of(st.characters(), signs), max_size=30))


@settings(max_examples=300)
@given(any_text(), st.sampled_from(["keep", "renew"]), st.randoms())
def test_nothing_of_any_text_is_lost(text, marks, chance):
    check_that_nothing_is_lost(text, marks, chance)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(any_text(), st.sampled_from(["keep", "renew"]), st.randoms())
def test_nothing_of_many_texts_is_lost(text, marks, chance):
    check_that_nothing_is_lost(text, marks, chance)


def check_that_nothing_is_lost(text, marks, chance):
    tags = [chance.choice([*TAGS, "lower。", "Capital؟"]) for _ in bare_words(text)[0]]
    new = restore_text(text, tags, marks=marks)
    assert without_marks(new) == without_marks(text)
    if marks == "keep":  # all signs of the text are there, in their order
        signs = iter(new.casefold())
        assert all(sign in signs for sign in text.casefold())
    for bare in (text, text.lower()):
        assert restore_text(bare, ["lower"] * len(tags)).casefold() == bare.casefold()


def test_marks_stand_where_they_can():
    text = "(well) said: “yes” -- a.b@x.org costs 50% i mean end,start McAdam--who"
    tags = ["Capital,"] * len(bare_words(text)[0])
    assert restore_text(text, tags, marks="keep") == (
        "(Well), Said: “Yes”, -- A.b@x.org, Costs, 50%, I, Mean, End,Start, McAdam--Who,"
    )
    assert restore_text("你好(了)吗 ok", ["lower。"] * 5) == "你。好。(了)。吗。 ok。"
    assert restore_text("so . . .", ["lower?"], marks="renew") == "so?   "
    assert restore_text("-- $", []) == "-- $"
    with pytest.raises(SettingError, match="marks is 'drop', allowed are keep, renew"):
        restore_text("a", ["lower"], marks="drop")
