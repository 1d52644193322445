"""Texts of every kind to ids, against obvious code; a broken one is a sentence with its place."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from unrolled import MissingExtraError, SettingError, TextError, Vocabulary, read_corpus
from unrolled.errors import UnrolledError, UnrolledWarning
from unrolled.text import sources as sources_module
from unrolled.text.options import TextOptions
from unrolled.text.sources import source_bytes
from unrolled.text.tokens import _FIRST_INVALID, iter_sentences, read_blocks, tokenise

ROSE = "a rose is a rose\nis a rose\n\nZoë’s ROSE\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="text.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_lines_are_left_out_at_the_beginning(write, suffix):
    zstandard = pytest.importorskip("zstandard")
    packers = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    packers[".zst"] = zstandard.ZstdCompressor().compress
    data = b"\xef\xbb\xbf" + b"".join(b"a rose %d\n" % number for number in range(50_000))
    path = write(packers[suffix](data), f"text{suffix}")
    for skip in (0, 12, data.index(b"rose 9999") + 10, len(data)):
        blocks = list(sources_module.raw_blocks(path, skip=skip))
        assert b"".join(block.data for block in blocks) == data[max(skip, 3) :]
        for block in blocks:
            assert data[block.offset :].startswith(block.data)


def words_of(path, **options):
    return [line.split() for line in iter_sentences(path, TextOptions(**options))]


@given(st.text("ab \t\r\n\0\u2028\x0cé", max_size=200), st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_corpus_is_that_of_the_oracle(tmp_path_factory, text, min_count, threads):
    path = tmp_path_factory.mktemp("corpus") / "text"
    path.write_bytes(text.encode())
    words, ids, oov = oracle.encode(text.encode(), min_count, 4)
    corpus = read_corpus(path, min_count=min_count, max_size=4, threads=threads)
    assert list(corpus.vocabulary) == words
    assert corpus.ids.dtype == np.int32 and corpus.ids.tolist() == ids
    assert corpus.oov == oov
    assert corpus.sentences == ids.count(1) and corpus.tokens == len(ids) - ids.count(1)
    assert corpus.word_counts.tolist() == np.bincount(ids, minlength=len(words)).tolist()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_blocks_and_threads_give_the_same(write, monkeypatch, threads):
    monkeypatch.setattr(sources_module, "BLOCK_BYTES", 4096)
    rng = np.random.default_rng(1)
    lines = (" ".join(f"w{x}" for x in rng.zipf(1.3, 10) % 50_000) for _ in range(5000))
    path = write("\n".join(lines))
    words, ids, _ = oracle.encode(path.read_bytes())
    seen = []
    corpus = read_corpus(path, threads=threads, progress=seen.append)
    assert len(seen) > 40 and sum(seen) == path.stat().st_size == source_bytes(path)
    assert list(corpus.vocabulary) == words
    assert corpus.ids.tolist() == ids
    again = read_corpus(path, vocabulary=corpus.vocabulary, threads=threads)
    assert np.array_equal(again.ids, corpus.ids) and again.oov == 0
    assert np.array_equal(again.word_counts, corpus.word_counts)


@pytest.mark.parametrize("tokens", ["word", "char"])
def test_texts_in_memory_are_lines_of_a_file(write, monkeypatch, tokens):
    monkeypatch.setattr(sources_module, "BLOCK_BYTES", 64)
    texts = [f"a rose\nis {n} \ud800 Zoë" for n in range(50)]
    lines = "".join(text.replace("\n", " ") + "\n" for text in texts).encode(errors="replace")
    options = TextOptions(tokens=tokens)
    file = read_corpus(write(lines), options=options)
    memory = read_corpus(texts=iter(texts), options=options)
    assert np.array_equal(memory.ids, file.ids) and memory.vocabulary == file.vocabulary
    again = read_corpus(texts=texts, options=options, vocabulary=file.vocabulary)
    assert np.array_equal(again.ids, file.ids)
    with pytest.raises(TextError, match="texts:12: the text holds <s>"):
        read_corpus(texts=[*texts[:11], "a <s>"])
    assert read_corpus(texts=[]).ids.size == 0


def test_blank_json_lines_have_no_ids(write):
    for vocabulary in (None, Vocabulary.from_words(["a"])):
        assert read_corpus(write("\n\n", "t.jsonl"), vocabulary=vocabulary).sentences == 0


def test_taken_ids_leave_none_behind(write):
    corpus = read_corpus(write(ROSE))
    ids = corpus.ids
    assert corpus.take_ids() is ids and corpus.ids.size == 0


def test_a_given_vocabulary_counts_what_it_lacks(write):
    corpus = read_corpus(write(ROSE), vocabulary=Vocabulary.from_words(["rose", "a"]))
    assert corpus.ids.tolist() == [1, 4, 3, 0, 4, 3, 2, 1, 0, 4, 3, 2, 1, 2, 1, 0, 0, 2]
    assert (corpus.oov, corpus.sentences, corpus.tokens) == (4, 4, 14)


@pytest.mark.parametrize("text", [ROSE, "absent\n", ""])
def test_a_list_of_words_is_the_vocabulary_whatever_the_text_has(write, text):
    corpus = read_corpus(write(text), words=["rose", "is", "absent", "rose"])
    assert list(corpus.vocabulary)[3:] == ["rose", "is", "absent"]
    counts = [text.split().count(word) for word in ("rose", "is", "absent")]
    assert corpus.word_counts.tolist()[3:] == counts
    assert corpus.oov == len(text.split()) - sum(counts)


def test_an_unk_in_the_text_is_the_unknown_word_and_no_oov(write):
    corpus = read_corpus(write("a <unk> b\n"))
    assert corpus.ids.tolist() == [1, 3, 0, 4, 2] and corpus.oov == 0


@pytest.mark.parametrize("limit", [{"min_count": 2}, {"max_size": 5}, {"words": []}])
def test_limits_do_not_go_with_a_given_vocabulary(write, limit):
    with pytest.raises(SettingError, match="are for the words of the text, not for given ones"):
        read_corpus(write(ROSE), vocabulary=Vocabulary.from_words([]), **limit)
    if "words" not in limit:
        with pytest.raises(SettingError, match="are for the words of the text, not for given ones"):
            read_corpus(write(ROSE), words=["rose"], **limit)


def test_a_list_of_words_with_spaces_is_refused(write):
    with pytest.raises(
        SettingError, match=r"word 'a b' \(number 3\) is empty, comes twice or holds"
    ):
        read_corpus(write(ROSE), words=["a b"])


@pytest.mark.parametrize("setting", [{"min_count": -1}, {"max_size": -1}, {"threads": 0}])
def test_settings_out_of_range_are_refused(write, setting):
    with pytest.raises(SettingError, match="allowed are [01] and more"):
        read_corpus(write(ROSE), **setting)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": "words"}, "tokens is 'words', allowed are word, char, byte"),
        ({"invalid": "ignore"}, "invalid is 'ignore', allowed are error, replace"),
        ({"normalise": "nfd"}, "normalise is 'nfd', allowed are none, nfc, nfkc"),
        ({"specials": "drop"}, "specials is 'drop', allowed are unknown, error, skip, keep"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        TextOptions(**options)


# Lines and separators


def test_only_ascii_white_space_separates_words(write):
    path = write("a\u2028b c\u00a0d\u3000e\u0085f g\x0bh i\x0cj\0k\tl\r\n")
    expected = ["a\u2028b", "c\u00a0d\u3000e\u0085f", "g\x0bh", "i\x0cj", "k", "l"]
    with pytest.warns(UnrolledWarning) as notes:
        assert list(read_corpus(path).vocabulary)[3:] == expected
    assert [str(note.message).split(",")[0] for note in notes] == [
        "1 word (once) hold no-break spaces (U+00A0)",
        "1 word (once) hold ideographic spaces (U+3000)",
    ]


# Forms of Unicode


NFC, NFD = "na\u00efve", "nai\u0308ve"


def test_words_in_two_forms_are_reported_and_normalised(write):
    path = write(f"{NFC} {NFD} {NFD} e\u0301\n")
    message = rf"1 word such as '{NFC}' are in .*\(NFC, once\) and not \(2 times\).*--normalise nfc"
    with pytest.warns(UnrolledWarning, match=message):
        assert len(read_corpus(path).vocabulary) == 3 + 3
    corpus = read_corpus(path, options=TextOptions(normalise="nfc"))
    assert list(corpus.vocabulary)[3:] == [NFC, "\u00e9"]
    assert corpus.word_counts.tolist()[3:] == [3, 1]


@pytest.mark.parametrize("text", [NFC, NFD, "plain", f"{NFD} e\u0302 {NFC} x", ""])
def test_texts_of_one_form_are_not_reported(write, text):
    if text.count(NFC) and text.count(NFD):
        text = text.replace(NFD, "")
    read_corpus(write(text))


def test_nfkc_makes_spaces_of_other_spaces():
    options = TextOptions(normalise="nfkc", lower=True)
    assert tokenise("A\u00a0b\u3000\uff23 \ufb01n", options).decode() == "a b c fin"
    assert tokenise(b"\xff A\xc2\xa0", TextOptions(tokens="byte", normalise="nfkc")).split() == [
        b"<0xFF>", b"\xe2\x96\x81", b"A", b"\xe2\x96\x81",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("\n", [1, 2]),
        ("\n\n", [1, 2, 1, 2]),
        (" ", [1, 2]),
        ("a", [1, 3, 2]),
        ("a\r\n\r\na\r\n", [1, 3, 2, 1, 2, 1, 3, 2]),
        ("\ufeffa\n", [1, 3, 2]),
        ("\0\0\n", [1, 2]),
    ],
)
def test_lines_at_the_edges(write, text, ids):
    assert read_corpus(write(text)).ids.tolist() == ids


def test_a_word_of_megabytes_and_a_line_longer_than_a_block(write, monkeypatch):
    monkeypatch.setattr(sources_module, "BLOCK_BYTES", 1 << 16)
    long = "x" * 3_000_000
    corpus = read_corpus(write(f"{long} a {long}\nb\n"))
    assert corpus.ids.tolist() == [1, 3, 4, 3, 2, 1, 5, 2]
    assert corpus.vocabulary.word(3) == long
    monkeypatch.setattr(sources_module, "MAX_LINE", 1 << 20)
    with pytest.raises(TextError, match=r"text.txt: a line has more than 1048576 bytes"):
        read_corpus(write(long))


# Marks and bytes that are not UTF-8


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("vocabulary", [None, Vocabulary.from_words(["a"])])
def test_marks_in_the_text_are_refused_with_their_line(write, vocabulary, threads):
    for mark in ("<s>", "</s>"):
        with pytest.raises(TextError, match=rf"text.txt:3: the text holds {mark}, .*specials=skip"):
            read_corpus(write(f"a\n\na {mark}\n"), vocabulary=vocabulary, threads=threads)
    with pytest.raises(TextError, match="text.txt:1: the text holds <unk>"):
        read_corpus(write("<unk>"), vocabulary=vocabulary, options=TextOptions(specials="error"))
    skipped = read_corpus(write("a <s> <unk>\n"), options=TextOptions(specials="skip"))
    assert skipped.ids.tolist() == [1, 3, 2]
    kept = read_corpus(write("a <s> <unk>\n"), options=TextOptions(specials="keep"))
    assert kept.ids.tolist() == [1, 3, 1, 0, 2] and kept.word_counts.tolist() == [1, 2, 1, 1]
    assert (kept.sentences, kept.tokens, kept.oov) == (1, 4, 0)


def test_bytes_that_are_not_utf8_are_refused_or_replaced(write, monkeypatch):
    large = "Zoë\n".encode() * 20_000
    assert read_corpus(write(large)).tokens == 40_000
    with pytest.raises(TextError, match=r"text.txt:20001: byte 0xff at offset 100000 is not"):
        read_corpus(write(large + b"\xff"))
    monkeypatch.setattr(sources_module, "BLOCK_BYTES", 64)
    path = write(b"ok line\n" * 50 + b"caf\xe9 au lait\n")
    message = r"text.txt:51: byte 0xe9 at offset 403 is not UTF-8. Convert it, .*--invalid replace"
    with pytest.raises(TextError, match=message):
        read_corpus(path)
    replaced = read_corpus(path, options=TextOptions(invalid="replace"))
    assert "caf\ufffd" in replaced.vocabulary
    with pytest.raises(TextError, match=r"text.txt: this is UTF-16 text. Convert it"):
        read_corpus(write("a b\n".encode("utf-16")))
    for bad in (b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"a\xe2\x96"):
        with pytest.raises(TextError, match="is not UTF-8"):
            read_corpus(write(bad))


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), st.integers(0, 9))
@settings(max_examples=500, deadline=None)
def test_what_is_utf8_is_as_python_says(data, ahead):
    data = b"x" * ahead + data
    try:
        data.decode()
        expected = -1
    except UnicodeDecodeError as error:
        expected = error.start
    assert _FIRST_INVALID(np.frombuffer(data, np.uint8)) == expected


# Tokens


def test_characters_and_bytes_are_words(write):
    path = write("Zoë is\r\n\n a\n")
    characters = ["Z", "o", "ë", "▁", "i", "s"]
    assert words_of(path, tokens="char") == [characters, [], ["▁", "a"]]
    as_bytes = ["Z", "o", "<0xC3>", "<0xAB>", "▁", "i", "s"]
    assert words_of(path, tokens="byte") == [as_bytes, [], ["▁", "a"]]
    assert words_of(write(b"\xff\x1f~!\n"), tokens="byte") == [["<0xFF>", "<0x1F>", "~", "!"]]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_characters_are_those_of_python(text):
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    spaces = str.maketrans(dict.fromkeys("\0\t\r ", "▁"))
    expected = [" ".join(line.translate(spaces)) for line in lines]
    assert tokenise(text, TextOptions(tokens="char")).decode().split("\n") == expected


@given(st.text("aBÉΣσςİǅ'. \n’", max_size=100), st.booleans())
@settings(max_examples=300, deadline=None)
def test_lower_case_is_that_of_python(text, sparse):
    if sparse:  # the way of a text with few letters outside ASCII
        text += "X" * 40 * len(text.encode())
    assert tokenise(text, TextOptions(lower=True)).decode() == text.lower()


def test_lower_case_leaves_what_is_not_utf8_to_byte_tokens():
    options = TextOptions(tokens="byte", lower=True)
    assert tokenise(b"A\xff" + b"B" * 70, options).split()[:3] == [b"a", b"<0xFF>", b"b"]
    assert tokenise(b"A\xff", options) == b"a <0xFF>"


def test_sentencepiece(write, tmp_path):
    spm = pytest.importorskip("sentencepiece")
    buffer = io.BytesIO()
    lines = ["a rose is a rose", "the cat sat on the mat", "is the rose red"] * 20
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=buffer, vocab_size=19, minloglevel=2
    )
    model = tmp_path / "pieces.model"
    model.write_bytes(buffer.getvalue())
    processor = spm.SentencePieceProcessor(model_file=str(model))
    path = write("a rose\n\nthe mat\n")
    expected = [processor.encode(line, out_type=str) for line in ("a rose", "", "the mat")]
    assert words_of(path, tokens=str(model)) == expected
    broken = tmp_path / "broken.model"
    broken.write_bytes(b"no model")
    with pytest.raises(TextError, match=r"broken.model: the file is not a SentencePiece model"):
        words_of(path, tokens=str(broken))
    with pytest.raises(TextError, match="no such SentencePiece model"):
        words_of(path, tokens=str(tmp_path / "absent.model"))


# Compressed files


def zstd(data):
    return pytest.importorskip("zstandard").ZstdCompressor(write_checksum=True).compress(data)


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
RANDOM = " ".join(map(str, np.random.default_rng(0).integers(0, 10**9, 30_000))).encode()


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_files_read_as_plain_ones(write, suffix):
    pack = PACKERS[suffix]
    plain = read_corpus(write(RANDOM + b"\n" + ROSE.encode()))
    # Two frames one after the other, as `cat a.gz b.gz` makes them.
    packed = read_corpus(write(pack(RANDOM + b"\n") + pack(ROSE.encode()), f"text{suffix}"))
    assert np.array_equal(packed.ids, plain.ids) and packed.vocabulary == plain.vocabulary


@pytest.mark.parametrize("suffix", PACKERS)
def test_cut_and_broken_compressed_files_are_one_sentence(write, suffix):
    data = PACKERS[suffix](RANDOM)
    for size in (len(data) // 2, len(data) - 1, 5):
        with pytest.raises(TextError, match=rf"t{suffix}: the \w+ file (ends too early|is broken)"):
            read_corpus(write(data[:size], f"t{suffix}"))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    for bad in (bytes(flipped), b"plain text, not compressed at all\n"):
        with pytest.raises(TextError) as caught:
            read_corpus(write(bad, f"t{suffix}"))
        assert "\n" not in str(caught.value) and f"t{suffix}" in str(caught.value)


# Records


def test_json_lines(write):
    records = [{"text": "a rose\nis"}, {"text": "", "id": 1}, {"text": "Zoë \u2028"}]
    path = write("\n".join(map(json.dumps, records)) + "\n\n", "t.jsonl")
    assert list(iter_sentences(path)) == ["a rose", "is", "", "Zoë \u2028"]
    packed = write(gzip.compress(json.dumps({"body": "a b"}).encode()), "t.jsonl.gz")
    assert words_of(packed, field="body") == [["a", "b"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "b"', "the line is not JSON"),
        ("[1]", "JSON but not an object"),
        ('{"body": "b", "id": 1}', "field 'text' is missing among the fields 'body', 'id'"),
        ('{"text": 3}', "field 'text' is not a string"),
        ("[" * 100_000, "the line is not JSON"),
        ('{"text": "\\ud800"}', "is not UTF-8"),
        ('{"text": "b <s>"}', "the text holds <s>"),
    ],
)
def test_broken_json_lines_have_their_line(write, line, message):
    path = write('{"text": "a\\nb"}\n\n' + line + "\n", "t.jsonl")
    with pytest.raises(TextError, match=rf"t.jsonl:3: .*{message}"):
        read_corpus(path)


def test_parquet(tmp_path, write):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a b", "c\nd"], "n": [1, 2], "hole": ["x", None]}), path)
    assert words_of(path) == [["a", "b"], ["c"], ["d"]]
    for field, message in (
        ("body", "t.parquet: the column 'body' is missing among 'text', 'n', 'hole'"),
        ("n", "t.parquet: the column 'n' is int64, not string"),
        ("hole", "t.parquet:2: the column 'hole' has no value"),
    ):
        with pytest.raises(TextError, match=message):
            words_of(path, field=field)
    data = path.read_bytes()
    for bad in (b"", b"PAR1", data[: len(data) // 2], data[:8] + bytes(100) + data[108:]):
        with pytest.raises(UnrolledError, match="broken.parquet"):
            words_of(write(bad, "broken.parquet"))


@pytest.mark.parametrize(
    ("package", "name"), [("zstandard", "t.zst"), ("pyarrow", "t.parquet"), ("sentencepiece", "t")]
)
def test_a_missing_package_is_named_with_the_command(write, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    options = TextOptions(tokens="absent.model") if package == "sentencepiece" else None
    with pytest.raises(MissingExtraError, match=rf"{package} is .* pip install 'unrolled\[text\]'"):
        list(read_blocks(write(b"x", name), options))


# Sources


def test_folders_and_lists_of_files(write, tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "deep" / "c.txt.gz").write_bytes(gzip.compress(b"c"))
    (folder / "a.txt").write_text("a")
    (folder / ".hidden").write_text("no")
    other = write("o", "other")
    assert list(iter_sentences([folder, str(other)])) == ["a", "b", "c", "o"]


def test_sources_that_are_not_there(tmp_path, write):
    with pytest.raises(TextError, match="absent: there is no such file or folder"):
        read_corpus(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TextError, match="empty: the folder has no files"):
        read_corpus(tmp_path / "empty")
    with pytest.raises(TextError, match="no text was given"):
        read_corpus([])


@pytest.mark.skipif(not hasattr(os, "mkfifo") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(write):
    path = write("a")
    path.chmod(0)
    with pytest.raises(TextError, match="cannot be read"):
        read_corpus(path)


def test_standard_input(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(b"a b\nc")

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert list(iter_sentences("-")) == ["a b", "c"]
    Stdin.buffer = io.BytesIO(b"a\n\xff")
    with pytest.raises(TextError, match="<stdin>:2: byte 0xff at offset 2"):
        read_corpus("-")


def test_an_interrupt_while_reading_ends_the_threads(write):
    import threading

    def interrupt(_):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        read_corpus(write(ROSE), progress=interrupt)
    assert threading.active_count() == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_may_not_be_read_is_not_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("a\n")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(TextError, match=r"closed: the folder cannot be read"):
            read_corpus(tmp_path)
    finally:
        closed.chmod(0o700)
