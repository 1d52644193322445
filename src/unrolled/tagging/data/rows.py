"""Sentences from rows of named fields: JSON lines, Parquet, Hugging Face data sets; and DocBins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unrolled.errors import MissingExtraError, SettingError, TextError
from unrolled.text.records import json_object, parquet_file

WORD_FIELDS = ("tokens", "words")
TAG_FIELDS = ("tags", "ner_tags", "labels", "entities")
_NAMES_HINT = "Give their names in order, --tag-names 'O B-PER I-PER', or a file with one a line"


class Row(NamedTuple):
    """A sentence's words, tags, further columns, document and place, as `TaggedSentence` has."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    document: str
    place: str


class RowFields(NamedTuple):
    """Which fields hold what; None: found from the first row.

    Attributes:
        word, tag: names of fields. tagged: whether there are tags.
        names: of tags that are numbers, in order; or those of several fields.
    """

    word: str | None = None
    tag: str | None = None
    tagged: bool = True
    names: Sequence[str] | Mapping[str, Sequence[str]] | None = None


def sentences_of(
    rows: Iterable[Mapping[str, Any]], fields: RowFields, source: str, first: int = 1
) -> Iterator[Row]:
    """The sentences of rows, which have the numbers from `first` on; empty ones are left out.

    Further columns are the other fields whose names end with ``tags``.

    Raises:
        TextError: a field is missing or is no list, there are not as many tags as words, or tags
            are numbers without names.

    >>> rows = [{"tokens": ["Ann", "ran"], "ner_tags": [1, 0]}]
    >>> next(sentences_of(rows, RowFields(names=("O", "B-PER")), "names.jsonl")).tags
    ('B-PER', 'O')
    """
    layout: tuple[str, str, list[str]] | None = None
    for number, row in enumerate(rows, first):
        place = f"{source}:{number}"
        if not isinstance(row, Mapping):
            raise TextError("the row is not an object with fields", where=place)
        if not row:
            continue
        layout = layout or _layout(row, fields, place)
        word, tag, others = layout
        words = _values(row, word, fields, place)
        tags = _values(row, tag, fields, place) if fields.tagged else ()
        if words:
            columns = tuple(_values(row, other, fields, place) for other in others)
            yield Row(words, tags, columns, source, place)


def json_rows(lines: Iterable[str], source: str, first: int) -> Iterator[Mapping[str, Any]]:
    """The objects of JSON lines.

    Raises:
        TextError: a line is not JSON, or no object.
    """
    for number, line in enumerate(lines, first):
        # A blank line is a row without words, so that rows have the numbers of their lines.
        yield json_object(line, f"{source}:{number}") if line.strip() else {}


def is_json_row(line: str) -> bool:
    """Whether a line is a JSON object, which no line of columns is.

    >>> is_json_row('{"tokens": []}'), is_json_row("{ O")
    (True, False)
    """
    if not line.lstrip().startswith("{"):
        return False
    try:
        json_object(line)
    except TextError:
        return False
    return True


def parquet_rows(path: Path, fields: RowFields) -> Iterator[Row]:
    """The sentences of a Parquet file; names of tags are found where Hugging Face writes them.

    Raises:
        TextError: as `sentences_of`, or the file is broken. MissingExtraError: pyarrow is not
            installed.
    """
    with parquet_file(path) as file:
        if fields.names is None:
            about = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
            info = json_object(about, f"{path}, metadata of huggingface")
            names = names_of_features(info.get("info", info).get("features"))
            fields = fields._replace(names=names)
        rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
        yield from sentences_of(rows, fields, str(path))


def info_beside(path: Path) -> Mapping[str, Sequence[str]] | None:
    """Names of tags in the ``dataset_info.json`` of the folder, as Hugging Face writes it."""
    info = path.parent / "dataset_info.json"
    if not info.is_file():
        return None
    try:
        return names_of_features(json.loads(info.read_bytes()).get("features"))
    except (ValueError, AttributeError):  # a file of something else that has this name
        return None


def named_tags(given: str | os.PathLike[str] | None) -> tuple[str, ...] | None:
    """Names of tags from a text such as ``O B-PER``, or from a file with one a line.

    Raises:
        SettingError: there is no name.
    """
    if given is None:
        return None
    text = str(given)
    if Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8")
    names = tuple(text.replace(",", " ").split())
    if not names:
        raise SettingError("there are no names of tags", hint=_NAMES_HINT)
    return names


def docbin_rows(path: Path, fields: RowFields) -> Iterator[Row]:
    """The sentences of spaCy's ``.spacy`` files; tags are entities as BIO, else parts of speech.

    Sentences end at spaCy's boundaries and at blank lines.

    Args:
        fields: its tag may be ``ner``, ``tag`` or ``pos``.

    Raises:
        TextError: the file is no DocBin, or its documents have no such tags. MissingExtraError:
            spaCy is not installed.
    """
    try:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab
    except ImportError:
        raise MissingExtraError("spacy", "spacy") from None
    try:
        docs = list(DocBin().from_disk(path).get_docs(Vocab()))
    except Exception:  # msgpack, zlib and spaCy raise errors of many types on other bytes
        raise TextError("the file is not a DocBin of spaCy", where=str(path)) from None
    kinds = {"ner": "ENT_IOB", "tag": "TAG", "pos": "POS"}
    if fields.tag is not None and fields.tag not in kinds:
        hint = f"Allowed are {', '.join(kinds)}"
        raise SettingError(f"the tags of a DocBin are called {fields.tag!r}", hint=hint)
    for number, doc in enumerate(docs, 1):
        place = f"{path}:{number}"
        wanted = [fields.tag] if fields.tag else list(kinds)
        kind = next((kind for kind in wanted if doc.has_annotation(kinds[kind])), None)
        if fields.tagged and kind is None:
            raise TextError(f"the document has none of the tags {', '.join(wanted)}", where=place)
        for tokens in sentences_of_doc(doc):
            tags = tuple(_tag_of(token, kind) for token in tokens) if fields.tagged else ()
            yield Row(tuple(token.text for token in tokens), tags, (), place, place)


def sentences_of_doc(doc: Any) -> list[list[Any]]:
    """The tokens of each sentence of a document of spaCy, without those of white space.

    Sentences end at the document's boundaries and at blank lines.
    """
    parts = doc.sents if doc.has_annotation("SENT_START") else [doc]
    sentences: list[list[Any]] = []
    for part in parts:
        sentences.append([])
        newlines = 0
        for token in part:
            if token.text.isspace():
                newlines += token.text.count("\n")
                continue
            if newlines > 1:
                sentences.append([])
            newlines = 0
            sentences[-1].append(token)
    return [tokens for tokens in sentences if tokens]


def _tag_of(token: Any, kind: str | None) -> str:
    if kind == "ner":
        label = f"-{token.ent_type_}" if token.ent_type_ else ""
        return f"{token.ent_iob_}{label}" if str(token.ent_iob_) in ("B", "I") else "O"
    return str(token.tag_ if kind == "tag" else token.pos_) or "_"


def _layout(row: Mapping[str, Any], fields: RowFields, place: str) -> tuple[str, str, list[str]]:
    lists = [name for name, value in row.items() if _is_list(value)]
    tags = [name for name in lists if name in TAG_FIELDS or name.endswith("tags")]
    tags.sort(key=lambda name: TAG_FIELDS.index(name) if name in TAG_FIELDS else len(TAG_FIELDS))
    word = fields.word or next((name for name in WORD_FIELDS if name in lists), None)
    tag = fields.tag or next(iter(tags), None)
    if word is None or (tag is None and fields.tagged):
        missing, known = ("words", WORD_FIELDS) if word is None else ("tags", TAG_FIELDS)
        raise TextError(
            f"the row has no list of {missing} among its fields {', '.join(map(repr, row))}",
            where=place,
            hint=f"Name it (--{missing[:-1]}-column); else {', '.join(known)} are looked for",
        )
    others = [name for name in tags if name != tag] if fields.tagged else tags
    return word, tag or "", others


def _values(row: Mapping[str, Any], name: str, fields: RowFields, place: str) -> tuple[str, ...]:
    """A field's list, numbers by their names."""
    values: Any = row.get(name)
    if not _is_list(values):
        what = "is missing" if name not in row else "is not a list of words or numbers"
        raise TextError(f"the field {name!r} {what}", where=place)
    names = fields.names.get(name) if isinstance(fields.names, Mapping) else fields.names
    return tuple(_named(value, name, names, place) for value in values)


def _named(value: Any, field: str, names: Sequence[str] | None, place: str) -> str:
    if isinstance(value, str):
        return value
    if names is None:
        raise TextError(
            f"the tags of {field!r} are numbers without names", where=place, hint=_NAMES_HINT
        )
    if not 0 <= value < len(names):
        what = f"the tag {value} of {field!r} has no name, and there are {len(names)}"
        raise TextError(what, where=place, hint=_NAMES_HINT)
    return str(names[value])


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(item, str) or type(item) is int for item in value
    )


def names_of_features(features: Any) -> Mapping[str, Sequence[str]] | None:
    """Names of tags by field, from the features that Hugging Face's library writes or has."""
    names: dict[str, Sequence[str]] = {}
    described = getattr(features, "to_dict", lambda: features)() or {}
    for field, feature in described.items():
        inner = feature[0] if isinstance(feature, list) else feature
        inner = inner.get("feature", inner) if isinstance(inner, Mapping) else {}
        if inner.get("names"):
            names[field] = list(inner["names"])
    return names or None
