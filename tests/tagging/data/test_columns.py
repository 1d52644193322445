from __future__ import annotations

import gzip
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.column_reader import ColumnFormat
from unrolled.tagging.data.columns import (
    TaggedSentence,
    iter_columns,
    read_columns,
    write_columns,
)

CONLL = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
# # I-NP O

Peter NNP I-NP I-PER

-DOCSTART- -X- O O

London NNP I-NP I-LOC
"""
CONLLU = """# newdoc id = first
# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tya\tya\tADV\t_\t_\t_\t_\t_\t_
3\tNueva York\tNY\tPROPN\t_\t_\t1\tobl\t_\t_

# newdoc
1\tsí\tsí\tINTJ\t_\t_\t0\troot\t_\t_
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="text.conll"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_four_columns_with_documents(file):
    path = file(CONLL)
    first, second, third = read_columns(path)
    assert first == TaggedSentence(
        ("EU", "#"), ("I-ORG", "O"), (("NNP", "#"), ("I-NP", "I-NP")), str(path), f"{path}:3"
    )
    assert (second.document, third.document) == (str(path), f"{path}#2")
    assert third.place == f"{path}:10"


def test_other_columns_can_be_named(file):
    path = file(CONLL)
    sentences = read_columns(path, word=1, tag=-2)
    assert (sentences[0].words, sentences[0].tags) == (("NNP", "#"), ("I-NP", "I-NP"))
    assert sentences[0].columns == (("EU", "#"), ("I-ORG", "O"))
    plain = read_columns(path, tagged=False)[0]
    assert (plain.tags, len(plain.columns)) == ((), 3)


def test_conllu(file):
    path = file(CONLLU)
    first, second = read_columns(path)
    assert first.words == ("vamos", "nos", "Nueva York")
    assert first.tags == ("VERB", "PRON", "PROPN")
    assert first.document == "first"
    assert first.columns[1] == ("ir", "nosotros", "NY")
    assert second.document == f"{path}#2"
    assert read_columns(path, tag=7)[0].tags == ("root", "obj", "obl")


@pytest.mark.parametrize(
    "text", ["a b\tX\nc\tY\n", "a\tX\r\n \r\nb\tY", "\ufeffa\tX\n\n\n\n\nb\tY\n"]
)
def test_tabs_line_ends_signatures_and_blank_lines(file, text):
    sentences = read_columns(file(text))
    assert [tag for sentence in sentences for tag in sentence.tags] == ["X", "Y"]
    assert all(sentence.words for sentence in sentences)
    assert sentences[0].words[0] in ("a b", "a")


def test_words_keep_what_is_no_space_or_tab(file):
    text = "a\u00a0b  X\n\u3000 Y\nc\u2028d\x85 Z\n"
    assert read_columns(file(text))[0].words == ("a\u00a0b", "\u3000", "c\u2028d\x85")


def test_compressed_files_folders_and_encodings(file, tmp_path):
    file(gzip.compress(b"a X\n"), "a.conll.gz")
    file("b Y\n", "b.conll")
    sentences = read_columns(tmp_path)
    assert [s.words for s in sentences] == [("a",), ("b",)]
    assert sentences[0].document != sentences[1].document
    latin = file("caf\u00e9 X\n".encode("latin-1"), "latin")
    assert read_columns(latin, encoding="latin-1")[0].words == ("caf\u00e9",)
    assert read_columns(file("# id 1\na X\n"), comment="# ")[0].words == ("a",)
    assert read_columns(file("a|X\n"), separator="|")[0].words == ("a",)


def test_a_long_sentence_and_many_blocks(file, monkeypatch):
    text = "word O\n" * 100_000
    (sentence,) = read_columns(file(text))
    assert len(sentence.words) == len(sentence.tags) == 100_000
    monkeypatch.setattr("unrolled.text.sources.BLOCK_BYTES", 64)
    many = file("".join(f"w{i} T{i}\n\n" if i % 3 else f"w{i} T{i}\n" for i in range(999)))
    sentences = read_columns(many)
    assert [w for s in sentences for w in s.words] == [f"w{i}" for i in range(999)]
    number = many.read_text().splitlines().index("w996 T996") + 1
    assert sentences[-2].place == f"{many}:{number}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a X\nb Y Z\n", r":2: 3 columns, but 2 at the start of the file \(separated by spaces\)"),
        ("a\tX\nb Y\n", ":2: 1 columns, but 2 at the start"),
        ("a\n", ":1: words and tags are both in column 0 of 1"),
        ("a\tX\n\tY\n", ":2: the word is empty"),
        ("a\tX\nb\t\n", ":2: the tag is empty"),
        (b"a X\n\nb\xe9 Y\n", ":3: the byte 0xe9 is not utf-8. Name the file's encoding"),
        ("a X\n".encode("utf-16"), ":1: this is UTF-16 text. Convert it first"),
        (b"PK\x03\x04\0\0", ":1: this is a zip archive"),
        (b"a X\nb\0 Y\n", ":2: there is a byte 0, so it is not text"),
        ("", "text.conll: no sentence was found"),
        ("1\t" + "\t".join("abcdefghi") + "\nx\t" + "\t".join("abcdefghi"), ":2: 'x' is not a wor"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_their_line(file, text, message):
    with pytest.raises(TextError, match=message) as caught:
        read_columns(file(text))
    assert "text.conll" in str(caught.value)


def test_columns_and_encodings_that_do_not_exist_are_refused(file):
    path = file("a X\n")
    with pytest.raises(TextError, match=r":1: there is no column 5, the line has 2 columns. Allo"):
        read_columns(path, tag=5)
    with pytest.raises(SettingError, match="the encoding 'utf-9' is unknown"):
        read_columns(path, encoding="utf-9")
    with pytest.raises(SettingError, match="'utf-16' does not write ASCII as single bytes"):
        read_columns(path, encoding="utf-16")
    with pytest.raises(SettingError, match="separator is empty"):
        ColumnFormat(separator="")
    with pytest.raises(SettingError, match="comment is empty"):
        ColumnFormat(comment="")
    assert list(iter_columns(file(""))) == []


def test_comments_before_sentences_where_the_file_begins_with_one(file):
    text = "# id a1 domain=train\n# _ O\nb _ X\n\n# id a2 domain=train\nc _ Y\n"
    assert [s.words for s in read_columns(file(text))] == [("#", "b"), ("c",)]
    plain = "a = X\n\n# = O\n# = X\n"
    assert [s.words for s in read_columns(file(plain))] == [("a",), ("#", "#")]


def test_what_is_written_is_read_again(file, tmp_path):
    for text in (CONLL, "a b\tc d\tX\n"):
        sentences = read_columns(file(text))
        out = tmp_path / "out.conll.gz"
        write_columns(sentences, out, separator="\t", documents=True)
        again = read_columns(out)
        assert [(s.words, s.tags, s.columns) for s in again] == [
            (s.words, s.tags, s.columns) for s in sentences
        ]
        assert len({s.document for s in again}) == len({s.document for s in sentences})


def test_predicted_tags_stand_last_for_conlleval():
    sentence = TaggedSentence(("a", "b"), ("B-X", "O"), (("N", "V"),))
    out = io.StringIO()
    write_columns([sentence], out, predicted=[["O", "O"]])
    assert out.getvalue() == "a N B-X O\nb V O O\n\n"
    with pytest.raises(TextError, match="0 predicted tags for 2 words"):
        write_columns([sentence], out, predicted=[])


def test_values_that_would_not_be_read_again_are_refused(tmp_path):
    sentence = TaggedSentence(("a b",), ("X",), place="x:1")
    with pytest.raises(TextError, match="x:1: the value 'a b' cannot stand .* Take a tab"):
        write_columns([sentence], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(TextError, match="the value '' cannot stand"):
        write_columns([TaggedSentence(("a",), ("",))], io.StringIO())


def test_sentences_whose_parts_do_not_fit_are_refused():
    with pytest.raises(TextError, match="f:1: 1 tags for 2 words"):
        TaggedSentence(("a", "b"), ("X",), place="f:1")
    with pytest.raises(TextError, match="column 0 has 1 values for 2 words"):
        TaggedSentence(("a", "b"), (), (("X",),))


PIECES = st.sampled_from([b"a", b"# ", b"=", b"\t", b" ", b"\n", b"\r\n", b"\n\n", b"-DOCSTART-",
                          b"1\tb\tc\td\te\tf\tg\th\ti\tj\n", b"1-2", b"O", b"\xff", b"\0",
                          b"\xc3\xa9", b"\xef\xbb\xbf"])  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=25))
def test_any_bytes_are_read_whole_or_refused_with_their_line(tmp_path, pieces):
    path = tmp_path / "any"
    path.write_bytes(b"".join(pieces))
    try:
        sentences = read_columns(path)
    except TextError as error:
        assert str(error).startswith(str(path))
        return
    for sentence in sentences:
        assert sentence.words
        assert len(sentence.tags) == len(sentence.words)
        assert all(sentence.words)
        assert all(sentence.tags)


def words_and_tags(sentences):
    return [(" ".join(s.words), " ".join(s.tags)) for s in sentences]


GERMEVAL = """#\thttp://de.wikipedia.org/wiki/X [2009-10-17]
1\tAnna\tB-PER\tO
2\tlief\tO\tO

#\thttp://de.wikipedia.org/wiki/Y [2009-10-18]
1\t#\tO\tO
2\tBonn\tB-LOC\tB-LOC
"""
PLUS = """# global.columns = ID FORM UPOS NER
# text = Ann ran
1-2\tAnnran\t_\t_
1\tAnn\tNOUN\tB-PER
1.1\tx\t_\t_
2\tran\tVERB\tO
"""


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("# one comment line\nAnn X\n# O\n\n# another of these\nran Y\n", {},
         [("Ann #", "X O"), ("ran", "Y")]),
        ("#begin document (a); part 0\nAnn\tX\n\n#end document\n#begin document b\nran\tY\n", {},
         [("Ann", "X"), ("ran", "Y")]),
        ("# a comment\n\n# one more, before all\n\nAnn X\n", {}, [("Ann", "X")]),
        ("#hash O\n# O\n#tag X\n", {}, [("#hash # #tag", "O O X")]),
        ("# O\n", {}, [("#", "O")]),
        ("%% note X\n% O\n%%\nAnn X\n", {"comment": "%%"}, [("% Ann", "O X")]),
        ("# O\nAnn X\n", {"comment": "#"}, [("Ann", "X")]),
        ("#comment\nAnn X\n", {"comment": "#"}, [("Ann", "X")]),
        ("Ann\tX\n# a note\nran\tY\n#\n", {}, [("Ann ran", "X Y")]),
        (GERMEVAL, {}, [("Anna lief", "B-PER O"), ("# Bonn", "O B-LOC")]),
        (GERMEVAL, {"tag": 3}, [("Anna lief", "O O"), ("# Bonn", "O B-LOC")]),
        (PLUS, {}, [("Ann ran", "NOUN VERB")]),
        (PLUS, {"tag": "NER"}, [("Ann ran", "B-PER O")]),
        ("1 Ann B-PER\n2 ran O\n", {}, [("Ann ran", "B-PER O")]),
        ("1 X\n2 Y\n", {}, [("1 2", "X Y")]),
        ("1 1 Y\n2 3 Y\n", {"word": 0}, [("1 2", "Y Y")]),
    ],
)  # fmt: skip
def test_headers_comments_and_numbers_of_words(file, text, options, found):
    assert words_and_tags(read_columns(file(text), **options)) == found


def test_documents_that_begin_with_a_comment_have_its_name(file):
    text = "#begin document (a); part 0\nAnn X\n\n#end document\n#begin document (b)\nran Y\n"
    assert [s.document for s in read_columns(file(text))] == ["(a); part 0", "(b)"]


def test_lines_that_may_be_words_are_refused_rather_than_lost(file):
    with pytest.raises(TextError, match=":2: 1 columns, but 2 at the start .*--comment"):
        read_columns(file("Ann X\n#hash\n"))
    with pytest.raises(TextError, match=r"no column 'NER', the columns are ID, FORM"):
        read_columns(file(PLUS.replace("NER", "MISC")), tag="NER")
    with pytest.raises(TextError, match=r"no column 'NER', the columns have no names. Give its nu"):
        read_columns(file("a X\n"), tag="NER")
