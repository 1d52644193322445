"""Words to ids and back, against a dict; hostile tables; errors."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

import oracle
from unrolled import FormatError, SettingError, TextError, Vocabulary
from unrolled.text.hashing import hash_word

# Words of many lengths round the eight bytes that kernels read at once, that share beginnings.
word = st.one_of(
    st.text("ab!\x0b\x0c\x1bé\u2028", min_size=1, max_size=20),
    st.text(st.characters(exclude_characters="\0\t\n\r ", exclude_categories=["Cs"]), min_size=1),
)


@given(st.lists(word, unique=True), st.lists(word))
@settings(max_examples=200, deadline=None)
def test_ids_are_those_of_a_dict(words, others):
    vocabulary = Vocabulary.from_words(words)
    specials = ["<unk>", "<s>", "</s>"]
    expected = {w: i for i, w in enumerate(specials + [w for w in words if w not in specials])}
    assert list(vocabulary) == list(expected)
    asked = [*words, *others]
    assert vocabulary.ids(asked).tolist() == [expected.get(w, 0) for w in asked]
    assert vocabulary.encode(" ".join(asked)).tolist() == [expected.get(w, 0) for w in asked]
    assert [vocabulary.id(w) for w in asked] == [expected.get(w, 0) for w in asked]
    assert all((w in vocabulary) == (w in expected) for w in asked)


@given(st.binary(max_size=300))
@example(b"<s>")
@example(b"a <unk> b")
@example(b"a b\nab </s>")
@settings(max_examples=300, deadline=None)
def test_a_block_is_cut_as_the_oracle_cuts_it(data):
    words = ["a", "b", "ab"]
    ids = {w.encode(): i for i, w in enumerate(["<unk>", "<s>", "</s>", *words])}
    expected, oov, marks = [], 0, False
    for line in oracle.text_lines(data):
        found = oracle.split_words(line)
        marks = marks or b"<s>" in found or b"</s>" in found
        expected += [1, *(ids.get(w, 0) for w in found), 2]
        oov += sum(w not in ids for w in found)
    if marks:
        with pytest.raises(TextError, match="the text holds </?s>"):
            Vocabulary.from_words(words).encode_block(data)
        return
    got = Vocabulary.from_words(words).encode_block(data)
    assert got.ids.tolist() == expected
    assert (got.sentences, got.oov) == (len(oracle.text_lines(data)), oov)


def test_large_blocks_use_the_memory_of_recent_words_and_agree():
    rng = np.random.default_rng(0)
    words = [f"w{rank:x}" * (1 + rank % 4) for rank in range(30000)]
    vocabulary = Vocabulary.from_words(words)
    ids = rng.integers(0, len(words), 100_000)
    block = "\n".join(words[id] for id in ids).encode()
    got = vocabulary.encode_block(block).ids.reshape(-1, 3)[:, 1]
    assert (got == ids + 3).all()


def test_words_in_reach_of_one_another_stay_apart():
    words = [
        "abcdefg",
        "abcdefgh",
        "abcdefghi",
        "abcdefghabcdefgh",
        "abcdefghabcdefg",
        "!",
        "!!!!!!!!!",
    ]
    vocabulary = Vocabulary.from_words(words)
    assert vocabulary.encode(" ".join(words)).tolist() == list(range(3, 3 + len(words)))
    assert vocabulary.encode("abcdef abcdefghj !! abcdefghabcdefgi").tolist() == [0, 0, 0, 0]


def test_the_hash_in_python_is_the_kernels():
    from unrolled.text import encoding_kernels as encoding

    scan = njit(lambda data: encoding.scan(data, 0))  # Python cannot call it by itself
    for text in (b"a", b"abcdefg", b"abcdefgh", b"abcdefghi", bytes(range(33, 133))):
        assert scan(np.frombuffer(text, np.uint8)) == (len(text), hash_word(text))


def test_empty_words_and_words_with_white_space_are_unknown():
    vocabulary = Vocabulary.from_words(["a", "b"])
    assert vocabulary.ids(["a", "", "a b", "b"]).tolist() == [3, 0, 0, 4]
    assert vocabulary.ids(["a b", ""]).tolist() == [0, 0]
    assert vocabulary.ids([]).tolist() == []
    assert "" not in vocabulary and "a b" not in vocabulary and 3 not in vocabulary
    assert vocabulary.encode("").tolist() == vocabulary.encode(b" \t\r\n\0").tolist() == []


def test_specials_keep_the_first_ids_wherever_they_stand():
    vocabulary = Vocabulary.from_words(["a", "</s>", "b", "<unk>"])
    assert list(vocabulary) == ["<unk>", "<s>", "</s>", "a", "b"]
    assert vocabulary.encode("<s> a <unk> </s>").tolist() == [1, 3, 0, 2]


def test_what_marks_in_the_text_do():
    vocabulary = Vocabulary.from_words(["a"])
    block = b"a\na <unk> <s>\n"
    with pytest.raises(TextError, match="^line 2: the text holds <s>"):
        vocabulary.encode_block(block)
    with pytest.raises(TextError, match="^x:8: the text holds <unk>"):
        vocabulary.encode_block(block, specials="error", place=lambda line: f"x:{line + 7}")
    assert vocabulary.encode_block(block, specials="skip").ids.tolist() == [1, 3, 2, 1, 3, 2]
    kept = vocabulary.encode_block(block, specials="keep")
    assert kept.ids.tolist() == [1, 3, 2, 1, 3, 0, 1, 2] and kept.oov == 0
    with pytest.raises(SettingError, match="specials is 'no', allowed are unknown, error"):
        vocabulary.encode_block(block, specials="no")


@pytest.mark.parametrize("words", [["a", "a"], ["a", ""], ["a b"], ["a\n"], ["\0"]])
def test_words_that_cannot_be_are_refused(words):
    with pytest.raises(SettingError, match="is empty, comes twice or holds white space"):
        Vocabulary.from_words(words)


def test_an_id_outside_is_refused():
    with pytest.raises(SettingError, match="word id 3 is outside the vocabulary, 0 to 2"):
        Vocabulary.from_words([]).word(3)
    with pytest.raises(SettingError, match="word id -1"):
        Vocabulary.from_words([]).words([-1])


def test_arrays_and_pickles_come_back():
    vocabulary = Vocabulary.from_words(["a", "b"])
    for back in (
        Vocabulary.from_arrays(vocabulary.arrays(), "m"),
        Vocabulary.from_arrays(vocabulary.arrays(compact=True), "m"),
        pickle.loads(pickle.dumps(vocabulary)),
    ):
        assert back == vocabulary and hash(back) == hash(vocabulary)
        assert back.encode("b a c").tolist() == [4, 3, 0]
    assert vocabulary != Vocabulary.from_words(["a", "c"]) and vocabulary != 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": None}, "lacks its array 'slots'"),
        ({"text": np.zeros(3)}, "1-dimensional float64, not 1-dimensional uint8"),
        ({"slots": np.zeros((2, 8), np.uint64)}, "2-dimensional"),
        ({"slots": np.zeros(4, np.uint64)}, "4 hash slots for 4 words"),
        ({"slots": np.zeros(24, np.uint64)}, "24 hash slots"),
        ({"offsets": np.zeros(0, np.uint32)}, "offsets do not fit"),
        ({"offsets": np.array([0, 5, 8, 12, 99], np.uint32)}, "offsets do not fit"),
        ({"offsets": np.array([0, 5, 9, 12, 13], np.uint32)}, "does not begin with"),
        ({"text": np.frombuffer(b"<unk><x></s>a", np.uint8)}, "does not begin with"),
    ],
)
def test_broken_arrays_are_refused(change, message):
    arrays = Vocabulary.from_words(["a"]).arrays() | change
    with pytest.raises(FormatError, match=f"^model: .*{message}"):
        Vocabulary.from_arrays({k: v for k, v in arrays.items() if v is not None}, "model")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"", "do not end in a newline each"),
        (b"<unk>\n<s>\n</s>\na", "do not end in a newline each"),
        (b"<unk>\n<s>\na\n</s>\n", "does not begin with"),
        (b"<unk>\n<s>\n</s>\n\na\n", r"word '' \(number 3\) is empty"),
        (b"<unk>\n<s>\n</s>\na\na\n", r"word 'a' \(number 4\)"),
        (b"<unk>\n<s>\n</s>\na\nb c\n", r"word 'b c' \(number 4\)"),
        (b"<unk>\n<s>\n</s>\n\xff\0\n", r"\(number 3\)"),
    ],
)
def test_broken_compact_words_are_refused(lines, message):
    arrays = {"words": np.frombuffer(lines, np.uint8)}
    with pytest.raises(FormatError, match=f"^model: .*{message}"):
        Vocabulary.from_arrays(arrays, "model")


def test_compact_words_of_another_type_are_refused():
    arrays = {"words": np.zeros(9, np.int8)}
    with pytest.raises(FormatError, match="'words' is 1-dimensional int8, not 1-dimensional uint8"):
        Vocabulary.from_arrays(arrays, "model")


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        (b"<unk><s></s>ab", [0, 5, 8, 12, 4_000_000_000, 14]),
        (b"<unk><s></s>ab", [0, 5, 8, 12, 12, 14]),
        (b"<unk><s></s>a\n", [0, 5, 8, 12, 14]),
    ],
)
def test_damaged_words_are_not_made_compact(text, offsets):
    arrays = {
        "text": np.frombuffer(text, np.uint8),
        "offsets": np.array(offsets, np.uint32),
        "slots": np.zeros(16, np.uint64),
    }
    vocabulary = Vocabulary.from_arrays(arrays, "model")
    with pytest.raises(FormatError, match="the vocabulary is damaged"):
        vocabulary.arrays(compact=True)


def test_many_words_are_made_compact_in_pieces(monkeypatch):
    monkeypatch.setattr("unrolled.text.vocabulary._AT_ONCE", 3)
    for count in range(9):
        vocabulary = Vocabulary.from_words([f"word{number}" for number in range(count)])
        words = vocabulary.arrays(compact=True)["words"].tobytes().decode()
        assert words == "".join(f"{word}\n" for word in vocabulary)


@given(st.binary(max_size=200), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_hostile_tables_give_ids_inside_and_end(data, seed):
    rng = np.random.default_rng(seed)
    arrays = Vocabulary.from_words([f"word{rank}" for rank in range(20)]).arrays()
    slots = rng.integers(0, 2**64, arrays["slots"].size, np.uint64)
    # Right fingerprints with wild ids, so that the offsets are really read.
    for text in oracle.split_words(data.replace(b"\n", b" ")):
        hashed = hash_word(text)
        wild = int(rng.choice([0, 1, 5, 22, 23, 24, 2**31, 2**32 - 1]))
        slots[hashed % slots.size] = (hashed >> 32 << 32) | wild
    offsets = arrays["offsets"].copy()
    offsets[4:-1] = rng.integers(0, 2**32, offsets.size - 5, np.uint32)
    vocabulary = Vocabulary.from_arrays({**arrays, "offsets": offsets, "slots": slots}, "m")
    ids = vocabulary.encode_block(data, specials="keep").ids
    assert ((ids >= 0) & (ids < len(vocabulary))).all()
    for w in data.decode("latin-1").split():
        assert 0 <= vocabulary.id(w) < len(vocabulary)
    assert all(isinstance(w, str) for w in vocabulary)


def test_importing_the_package_and_the_vocabulary_loads_no_numba():
    code = (
        "import sys, unrolled; assert 'numpy' not in sys.modules;"
        "from unrolled.text.vocabulary import Vocabulary; import unrolled.text.corpus;"
        "assert 'numba' not in sys.modules and 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_public_names_are_all_there():
    import unrolled

    assert all(getattr(unrolled, name) is not None for name in unrolled.__all__)
    assert set(unrolled.__all__) <= set(dir(unrolled))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = unrolled.nothing
