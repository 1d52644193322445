"""Rows of named fields: JSON lines, Hugging Face's data sets, Parquet, and spaCy's DocBins."""

from __future__ import annotations

import gzip
import json

import pytest

from unrolled.errors import MissingExtraError, SettingError, TextError
from unrolled.tagging.data.columns import read_columns, read_rows
from unrolled.tagging.data.rows import named_tags

ROWS = [
    {"id": "0", "tokens": ["Ann", "ran"], "ner_tags": [1, 0], "pos_tags": [7, 8]},
    {"id": "1", "tokens": [], "ner_tags": [], "pos_tags": []},
    {"id": "2", "tokens": ["In", "#"], "ner_tags": [0, 2], "pos_tags": [9, 0]},
]
NAMES = ["O", "B-PER", "B-LOC"]
FOUND = [(("Ann", "ran"), ("B-PER", "O")), (("In", "#"), ("O", "B-LOC"))]


def lines_of(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def pairs_of(sentences):
    return [(s.words, s.tags) for s in sentences]


def without_numbers(rows):
    return [{"tokens": row["tokens"], "tags": [NAMES[n] for n in row["ner_tags"]]} for row in rows]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.txt", "rows.json", "rows.jsonl.gz"])
def test_json_lines_with_tokens_and_tags(tmp_path, name):
    path = tmp_path / name
    data = ("\n" + lines_of(without_numbers(ROWS))).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    sentences = read_columns(path)
    assert pairs_of(sentences) == FOUND
    assert sentences[1].place == f"{path}:4"
    assert pairs_of(read_columns(path, tagged=False)) == [(words, ()) for words, _ in FOUND]


def test_tags_that_are_numbers_have_names(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(lines_of([{**row, "pos_tags": row["ner_tags"]} for row in ROWS]))
    assert pairs_of(read_columns(path, names=NAMES)) == FOUND
    assert pairs_of(read_columns(path, names=NAMES, word="tokens", tag="pos_tags")) == FOUND
    with pytest.raises(TextError, match="rows.jsonl:1: the tags of 'ner_tags' are numbers .*--tag"):
        read_columns(path)
    with pytest.raises(TextError, match="rows.jsonl:3: the tag 2 of 'ner_tags' has no name"):
        read_columns(path, names=NAMES[:2])
    feature = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
    features = {"id": {"dtype": "string"}, "ner_tags": feature, "pos_tags": feature}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"features": features}))
    assert pairs_of(read_columns(path)) == FOUND
    (tmp_path / "names.txt").write_text("O\nB-PER\nB-LOC\n")
    assert named_tags(tmp_path / "names.txt") == named_tags("O B-PER, B-LOC") == tuple(NAMES)
    with pytest.raises(SettingError, match="there are no names of tags"):
        named_tags(" ")


def test_rows_of_a_data_set_in_memory():
    class Features(dict):
        def to_dict(self):  # as `datasets.Features` gives it
            label = {"names": NAMES, "_type": "ClassLabel"}
            return {"tokens": {"_type": "List"}, "ner_tags": {"feature": label, "_type": "List"}}

    class Dataset(list):
        features = Features()

    rows = [{"tokens": row["tokens"], "ner_tags": row["ner_tags"]} for row in ROWS]
    assert pairs_of(read_rows(Dataset(rows))) == FOUND
    assert pairs_of(read_rows(rows, names=NAMES)) == FOUND
    further = read_rows([{"words": ["a"], "tags": ["X"], "pos_tags": ["N"]}])
    assert further[0].columns == (("N",),)


def test_parquet_with_hugging_faces_names(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    table = pyarrow.Table.from_pylist([{**row, "pos_tags": None} for row in ROWS])
    feature = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
    info = json.dumps({"info": {"features": {"ner_tags": feature}}})
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": info}), tmp_path / "t.parquet"
    )
    assert pairs_of(read_columns(tmp_path / "t.parquet")) == FOUND
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(TextError, match=r"bad.parquet: the Parquet file is broken"):
        read_columns(tmp_path / "bad.parquet")


def test_docbins_of_spacy(tmp_path):
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import Doc, DocBin, Span

    vocab = spacy.blank("en").vocab
    words = ["Ann", "B", "ran", ".", "\n\n", "To", "Rome"]
    doc = Doc(vocab, words, sent_starts=[True, *[False] * 6])
    doc.set_ents([Span(doc, 0, 2, "PER"), Span(doc, 6, 7, "LOC")])
    path = tmp_path / "docs.spacy"
    DocBin(docs=[doc, doc]).to_disk(path)
    first = [
        (("Ann", "B", "ran", "."), ("B-PER", "I-PER", "O", "O")),
        (("To", "Rome"), ("O", "B-LOC")),
    ]
    sentences = read_columns(path)
    assert pairs_of(sentences) == 2 * first
    assert sentences[-1].document == f"{path}:2"
    parts = Doc(vocab, ["a", "dog"], tags=["DT", "NN"])
    DocBin(attrs=["TAG"], docs=[parts]).to_disk(path)
    assert pairs_of(read_columns(path)) == [(("a", "dog"), ("DT", "NN"))]
    with pytest.raises(TextError, match="docs.spacy:1: the document has none of the tags pos"):
        read_columns(path, tag="pos")
    with pytest.raises(SettingError, match="the tags of a DocBin are called 'x'. Allowed are ner"):
        read_columns(path, tag="x")
    path.write_bytes(b"nothing")
    with pytest.raises(TextError, match=r"docs.spacy: the file is not a DocBin"):
        read_columns(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a b", "tags": ["X"]}', ":1: the row has no list of words among its fields 'te"),
        ('{"tokens": ["a"], "x": 1}', ":1: the row has no list of tags among its fields"),
        ('{"tokens": ["a"], "tags": ["X", "Y"]}', ":1: 2 tags for 1 words"),
        ('{"tokens": ["a"], "tags": ["X"]}\n{"tokens": ["b"]}', ":2: the field 'tags' is missing"),
        ('{"words": ["a"], "tags": ["X"]}\n{"words": "b", "tags": []}', ":2: the field 'words' is"),
        ('{"tokens": ["a"], "tags": ["X"]}\n[1]', ":2: the line is JSON but not an object"),
        ('{"tokens": ["a"], "tags": ["X"]}\n{', ":2: the line is not JSON"),
    ],
)  # fmt: skip
def test_rows_that_are_broken_are_refused_with_their_line(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(TextError, match=message):
        read_columns(path)


def test_missing_packages_are_named(tmp_path, monkeypatch):
    import sys

    for name, package in (("t.spacy", "spacy"), ("t.parquet", "pyarrow")):
        (tmp_path / name).write_bytes(b"")
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.tokens", None)
        with pytest.raises(MissingExtraError, match=package):
            read_columns(tmp_path / name)
