"""Headers of model files: what is written is read back, and nothing broken gets through."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.fuzz_storage import DIGITS, fuzz, joined, sealed, seeds, split

from unrolled.errors import FormatError, SettingError
from unrolled.storage.header import MAX_HEADER, Entry, Header, padding, parse, render
from unrolled.storage.model_file import read_model, write_model

Break = Callable[[dict[str, Any], dict[str, Any], bytes], bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


@pytest.fixture(scope="module")
def good(folder: Path) -> bytes:
    arrays = {"c": np.zeros(0), "a": np.arange(10, dtype=np.int32), "b": np.ones((2, 3))}
    path = folder / "good.safetensors"
    write_model(path, kind="ngram", config={"order": 3}, arrays=arrays)
    return path.read_bytes()


def refusal(folder: Path, data: bytes) -> str:
    """The one-line message with which a file is refused, its path cut off."""
    path = folder / "broken.safetensors"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_model(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 500 + len(str(path))
    return message.removeprefix(str(path))


def test_the_good_file_is_good(folder: Path, good: bytes) -> None:
    # So the tables below break only what they mean to break.
    path = folder / "joined.safetensors"
    path.write_bytes(joined(*split(good)))
    read_model(path, verify=True)
    assert split(path.read_bytes())[0] == split(good)[0]


# Files wrong as bytes: how to break the good one, and what the message must say.
BROKEN_BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda d: b"", ": is empty"),
    "one byte": (lambda d: d[:1], ": is not a model: its first bytes are "),
    "the length only": (lambda d: d[:8], ": is not a model: its first bytes are"),
    "nine bytes": (lambda d: d[:9], ": is cut off within its header: "),
    "cut in the fixed text": (lambda d: d[:20], ": is cut off within its header: "),
    "cut in the checksum": (lambda d: d[: DIGITS.start + 3], ": is cut off within its header"),
    "cut in the header": (lambda d: d[:300], "bytes are announced, and the file has 300"),
    "cut before the data": (lambda d: d[: len(d) - 112], ", array 'a': is cut off: "),
    "cut in the last array": (lambda d: d[:-1], ", array 'b': is cut off: this array ends at"),
    "a byte too many": (lambda d: d + b"\0", ": has 1 bytes after its last array"),
    "twice": (lambda d: d + d, "bytes after its last array"),
    "only zeros": (lambda d: bytes(len(d)), ": is not a model but only zeros at its start"),
    "length 0": (lambda d: bytes(8) + d[8:], "at byte 0: the header's length reads 0"),
    "length 1": (lambda d: b"\1" + bytes(7) + d[8:], "the header's length reads 1,"),
    "length 8 smaller": (lambda d: bytes([d[0] - 8]) + d[1:], "is damaged within its first"),
    "length over the cap": (
        lambda d: (MAX_HEADER + 1).to_bytes(8, "little") + d[8:],
        "the header's length reads 8,388,609, and 58 to 8,388,608 are allowed",
    ),
    "length 2**63": (lambda d: (2**63).to_bytes(8, "little") + d[8:], "is damaged at byte 0"),
    "length 2**64 - 1": (lambda d: b"\xff" * 8 + d[8:], "is damaged at byte 0"),
    "length over the file": (
        lambda d: (1 << 20).to_bytes(8, "little") + d[8:],
        "is cut off within its header: 1,048,584 bytes",
    ),
    "the fixed text changed": (
        lambda d: d.replace(b"__metadata__", b"__Metadata__"),
        "is a safetensors file that unrolled did not write, or its first bytes are damaged",
    ),
    "a checksum of capitals": (
        lambda d: d[: DIGITS.start] + b"ABCDEF01" + d[DIGITS.stop :],
        "the header's checksum reads 'ABCDEF01', and its bytes give",
    ),
    "a checksum of rubbish": (
        lambda d: d[: DIGITS.start] + b"\xff\n\0\x1b    " + d[DIGITS.stop :],
        "the header's checksum reads",
    ),
    "a kind changed": (lambda d: d.replace(b"ngram", b"nGram"), "is damaged within its first"),
    "a space changed": (lambda d: d.replace(b"}  ", b"}\t "), "is damaged within its first"),
}


@pytest.mark.parametrize(("breaking", "message"), BROKEN_BYTES.values(), ids=BROKEN_BYTES)
def test_broken_bytes(
    folder: Path, good: bytes, breaking: Callable[[bytes], bytes], message: str
) -> None:
    assert message in refusal(folder, breaking(good))


def put(**changes: Any) -> Break:
    """Change or remove (...) fields of the JSON about the file."""

    def breaking(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
        about |= changes
        return joined(document, {k: v for k, v in about.items() if v is not ...}, data)

    return breaking


def put_array(name: str, **changes: Any) -> Break:
    """Change or remove (...) fields of one array."""

    def breaking(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
        fields = document.get(name, {}) | changes
        document[name] = {k: v for k, v in fields.items() if v is not ...}
        return joined(document, about, data)

    return breaking


def instead(document: Any = ..., about: Any = ...) -> Break:
    """Put another JSON text in the place of one of the two."""

    def breaking(old: dict[str, Any], old_about: dict[str, Any], data: bytes) -> bytes:
        return joined(
            old if document is ... else document, old_about if about is ... else about, data
        )

    return breaking


def document_with(text: str) -> Break:
    """Insert text behind the first bytes that every file shares."""

    def breaking(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
        whole = joined(document, about, data, spaces=0)
        length = int.from_bytes(whole[:8], "little")
        raw = whole[8 : 8 + length].removesuffix(b"}") + text.encode()
        return sealed(len(raw).to_bytes(8, "little") + raw + data)

    return breaking


def crc32(**changes: Any) -> Break:
    def breaking(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
        about["crc32"] = {k: v for k, v in (about["crc32"] | changes).items() if v is not ...}
        return joined(document, about, data)

    return breaking


def renamed(new: str) -> Break:
    def breaking(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
        names = {"b": new}
        document = {names.get(name, name): fields for name, fields in document.items()}
        about["crc32"] = {names.get(name, name): crc for name, crc in about["crc32"].items()}
        return joined(document, about, data)

    return breaking


def reordered(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
    return joined(dict(sorted(document.items(), reverse=True)), about, data)


def without_filler(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
    del document["__pad_0__"]
    document["b"]["data_offsets"] = [40, 88]
    return joined(document, about, data[:40] + data[64:])


def long_filler(document: dict[str, Any], about: dict[str, Any], data: bytes) -> bytes:
    document["__pad_0__"] = {"dtype": "U8", "shape": [88], "data_offsets": [40, 128]}
    document["b"]["data_offsets"] = [128, 176]
    return joined(document, about, data[:64] + bytes(64) + data[64:])


START = '{"header_crc32":"00000000"'
AT_A = ", array 'a': the header is wrong: "
# Files wrong on purpose: their checksum is right.
FORGED: dict[str, tuple[Break, str]] = {
    "no format": (put(format=...), "the format None is not a number from 1"),
    "format 0": (put(format=0), "the format 0 is not"),
    "format true": (put(format=True), "the format True is not"),
    "format 1.0": (put(format=1.0), "the format 1.0 is not"),
    "format huge": (put(format=10**400), "is in model format a huge number"),
    "format 4": (
        put(format=4, provenance={"unrolled": "9.1"}, kind=7, crc32=7),
        "is in model format 4, written by unrolled '9.1', and this unrolled 0.1.0 reads up to "
        "format 3. Upgrade: pip install --upgrade unrolled.",
    ),
    "format 4 of nobody": (put(format=4, provenance=5), "written by unrolled None"),
    "no kind": (put(kind=...), "the kind None is not a short name"),
    "kind of control characters": (put(kind="n\ngram"), r"the kind 'n\ngram' is not"),
    "kind too long": (put(kind="x" * 1000), "xxx... is not a short name"),
    "kind a list": (put(kind=["ngram"]), "the kind ['ngram'] is not"),
    "no config": (put(config=...), "config is None, not an object"),
    "config a list": (put(config=[]), "config is [], not an object"),
    "provenance a text": (put(provenance="me"), "provenance is 'me', not an object"),
    "no crc32": (put(crc32=...), "crc32 is None, not an object"),
    "crc32 lacks an array": (crc32(a=...), AT_A + "the crc32 None is not 8 hexadecimal digits"),
    "crc32 a number": (crc32(a=7), AT_A + "the crc32 7 is not"),
    "crc32 of capitals": (crc32(a="0000ABCD"), AT_A + "the crc32 '0000ABCD' is not"),
    "crc32 of a stranger": (crc32(z="00000000"), "crc32 names the array 'z', which is not there"),
    "crc32 of a filler": (crc32(__pad_0__="00000000"), "crc32 names the array '__pad_0__'"),
    "about no JSON": (instead(about=START + ",]"), "the text 'unrolled' is not strict JSON: "),
    "about cut off": (instead(about=START), "the text 'unrolled' is not strict JSON: "),
    "about a NaN": (instead(about=START + ',"config":NaN}'), "NaN is not a number"),
    "about an infinity": (instead(about=START + ',"config":-Infinity}'), "-Infinity is not a"),
    "about a name twice": (instead(about=START + ',"a":1,"a":1}'), "the name 'a' stands there twi"),
    "about too deep": (
        instead(about=START + ',"config":' + "[" * 100_000 + "]" * 100_000 + "}"),
        "the text 'unrolled' is nested too deeply",
    ),
    "about a number too long": (
        instead(about=START + ',"config":' + "9" * 5000 + "}"),
        "the text 'unrolled' is not strict JSON: Exceeds the limit",
    ),
    "metadata more text": (document_with(',"__metadata__":{}}'), "'__metadata__' stands there tw"),
    "an array twice": (document_with(',"a":{}}'), "the name 'a' stands there twice"),
    "too deep": (document_with(',"z":' + '{"a":' * 100_000), "the header is nested too deeply"),
    "rubbish after the end": (document_with("}}"), "the header is not strict JSON: Extra data"),
    "no end": (document_with(""), "the header is not strict JSON: "),
    "not UTF-8": (
        lambda d, a, b: sealed(joined(d, a, b).replace(b'"I32"', b'"I\xff2"')),
        "the header is not strict JSON: 'utf-8' codec can't decode byte 0xff",
    ),
    "a name of spaces": (renamed("b b"), ", array 'b b': the header is wrong: the name is not"),
    "an empty name": (renamed(""), "the name is not 1 to 200"),
    "a long name": (renamed("b" * 201), "the name is not 1 to 200"),
    "a name of line ends": (renamed("b\n\x1b[31m"), "the name is not 1 to 200"),
    "a lone surrogate": (renamed("\ud800"), r"array '\ud800': the header is wrong: the name"),
    "an array a list": (document_with(',"z":[]}'), ", array 'z': the header is wrong: not an obje"),
    "no dtype": (put_array("a", dtype=...), AT_A + "not an object of dtype, shape and data_offs"),
    "a field too many": (put_array("a", device="gpu"), AT_A + "not an object of dtype, shape and"),
    "dtype unknown": (put_array("a", dtype="BF16"), AT_A + "the dtype 'BF16' is not one of BOOL"),
    "dtype of pickles": (put_array("a", dtype="O"), AT_A + "the dtype 'O' is not one of"),
    "dtype a list": (put_array("a", dtype=["I32"]), AT_A + "the dtype ['I32'] is not one of"),
    "dtype of another width": (put_array("a", dtype="I64"), "of I64 takes 80 bytes, and data_off"),
    "shape a number": (put_array("a", shape=10), AT_A + "shape 10 is not a list of at most 8"),
    "shape of a float": (put_array("a", shape=[10.0]), AT_A + "shape holds 10.0, allowed are 0 to"),
    "shape of a truth": (put_array("a", shape=[True, 10]), AT_A + "shape holds True, allowed are"),
    "shape negative": (put_array("a", shape=[-10]), AT_A + "shape holds -10, allowed are"),
    "shape twice negative": (put_array("a", shape=[-5, -2]), AT_A + "shape holds -5"),
    "shape of nine axes": (put_array("a", shape=[1] * 8 + [10]), "is not a list of at most 8"),
    "shape of many": (put_array("a", shape=[1] * 10**5), "... is not a list of at most 8"),
    "shape overflowing 64 bits": (
        put_array("a", shape=[2**32, 2**32, 10]),
        AT_A + "the shape [4294967296, 4294967296, 10] is too large",
    ),
    "shape overflowing to the right size": (
        # 2**32 * 2**30 * 4 bytes are 2**64, which a careless product takes for 0.
        put_array("c", dtype="I32", shape=[2**32, 2**30]),
        "the shape [4294967296, 1073741824] is too large",
    ),
    "shape empty and too large": (
        put_array("c", shape=[0, 2**40, 2**40]),
        "the shape [0, 1099511627776, 1099511627776] is too large",
    ),
    "shape a huge number": (put_array("a", shape=[10**100]), "shape holds a huge number"),
    "shape too small": (put_array("a", shape=[9]), "takes 36 bytes, and data_offsets [0, 40] say"),
    "shape petabytes": (put_array("a", shape=[2**48]), "takes 1,125,899,906,842,624 bytes"),
    "petabytes": (
        put_array("a", shape=[2**48], data_offsets=[0, 2**50]),
        ", array 'a': is cut off: this array ends at byte 1,125,899,906,842,624 of the data",
    ),
    "offsets backwards": (put_array("a", data_offsets=[40, 0]), "data_offsets [40, 0] say -40"),
    "offsets negative": (put_array("a", data_offsets=[-40, 0]), "data_offsets holds -40"),
    "offsets of one": (put_array("a", data_offsets=[0]), "data_offsets has 1 numbers, not 2"),
    "offsets of three": (put_array("a", data_offsets=[0, 40, 40]), "data_offsets has 3 numbers"),
    "offsets a text": (put_array("a", data_offsets="0-40"), "data_offsets '0-40' is not a list"),
    "offsets overlapping": (
        put_array("b", data_offsets=[0, 48]),
        "it begins at 0 where 64 is the next byte",
    ),
    "offsets with a hole": (
        put_array("b", data_offsets=[128, 176]),
        "it begins at 128 where 64 is the next byte",
    ),
    "arrays out of order": (reordered, "is the next byte"),
    "an array not aligned": (without_filler, "it begins at 40, not at a multiple of 64"),
    "a filler that hides data": (long_filler, "it is not the filler up to the next multiple of 64"),
    "a filler of another type": (
        put_array("__pad_0__", dtype="I8"),
        ", array '__pad_0__': the header is wrong: it is not the filler",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("breaking", "message"), FORGED.values(), ids=FORGED)
def test_forged_headers(folder: Path, good: bytes, breaking: Break, message: str) -> None:
    data = breaking(*split(good))
    tracemalloc.start()
    try:
        assert message in refusal(folder, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(data) + (1 << 20)  # whatever sizes it declares


def test_what_a_header_takes_in_memory_is_bounded(folder: Path, good: bytes) -> None:
    # Empty lists take the most memory for their length. The header is an eighth of the largest.
    data = document_with(f',"z":[{"[]," * (MAX_HEADER // 24)}[]]}}')(*split(good))
    tracemalloc.start()
    try:
        assert "array 'z'" in refusal(folder, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 45 * len(data)


def test_ten_thousand_equal_names_are_refused_in_no_time(folder: Path, good: bytes) -> None:
    names = ",".join(f'"n{n}":0' for n in range(100_000))
    assert "the name 'n7' stands" in refusal(
        folder, document_with(f',{names},"n7":0}}')(*split(good))
    )


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_damage_to_the_header_goes_unnoticed(folder: Path, good: bytes, data: Any) -> None:
    size = 8 + int.from_bytes(good[:8], "little")
    raw = bytearray(good)
    at = data.draw(st.integers(0, size - 1), "at")
    change = data.draw(st.sampled_from(["flip", "overwrite", "cut", "delete", "insert"]), "change")
    if change == "flip":
        raw[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    elif change == "overwrite":
        new = data.draw(st.binary(min_size=1, max_size=40), "new")
        raw[at : at + len(new)] = new
    elif change == "cut":
        del raw[at:]
    elif change == "delete":
        del raw[at : at + data.draw(st.integers(1, 100), "count")]
    else:
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=40), "new")
    if bytes(raw) != good:
        refusal(folder, bytes(raw))


def test_every_bit_of_the_header_counts(folder: Path, good: bytes) -> None:
    size = 8 + int.from_bytes(good[:8], "little")
    for bit in range(0, 8 * size, 7):  # 7 and 8 are coprime: all bits of a byte take turns
        raw = bytearray(good)
        raw[bit // 8] ^= 1 << bit % 8
        refusal(folder, bytes(raw))


def test_the_fuzz_target_finds_nothing_in_two_seconds(tmp_path: Path) -> None:
    outcomes = fuzz(2, seed=7, models=[], keep=tmp_path)
    assert outcomes["refused"] > 100
    assert outcomes["loaded"] > 10


def test_the_seeds_of_the_fuzz_target_are_good(tmp_path: Path) -> None:
    for path in seeds(tmp_path):
        read_model(path, verify=True)


DTYPES = st.sampled_from(["|b1", "|u1", "|i1", "<u2", "<f2", "<i4", "<f4", "<u8", "<f8", "<c8"])
SHAPES = st.lists(st.integers(0, 2**9), max_size=6).map(tuple)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),  # lone surrogates too
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    config=st.dictionaries(st.text(), JSON, max_size=4),
    arrays=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_./:-]{1,30}", fullmatch=True).filter(
            lambda name: not name.startswith("__")
        ),
        st.tuples(DTYPES, SHAPES, st.integers(0, 2**32 - 1)),
        max_size=5,
    ),
    spaces=st.integers(0, 100),
)
def test_what_is_rendered_is_parsed(
    config: dict[str, Any], arrays: dict[str, tuple[str, tuple[int, ...], int]], spaces: int
) -> None:
    entries: list[Entry] = []
    end = 0
    for index, (name, (dtype, shape, crc)) in enumerate(arrays.items()):
        if end % 64:
            entries.append(padding(end, f"__pad_{index}__"))
            end = entries[-1].end
        entries.append(Entry(name, np.dtype(dtype), shape, end, crc))
        end = entries[-1].end
    header = Header("tagger", config, {"by": "me"}, tuple(entries), 0)
    size = len(render(header)) + 64 * spaces
    raw = render(header, size)
    assert len(raw) == size
    assert size % 64 == 0
    parsed = parse(raw, size + end, "file")
    assert parsed == Header("tagger", config, {"by": "me"}, tuple(entries), size)


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ({"a": float("nan")}, "ngram", "cannot be stored: Out of range float values"),
        ({"a": {1, 2}}, "ngram", r"cannot be stored: \{1, 2\} is of type set"),
        ({"a": object}, "ngram", "is of type type. Use finite numbers, texts, lists"),
        ({"a": "x" * MAX_HEADER}, "ngram", "8,388,608 are allowed. Store long lists as arrays"),
        ({}, "N-Gram", "the kind 'N-Gram' is not a short name. Use a-z, 0-9 and -"),
        ({}, "", "the kind '' is not a short name"),
    ],
)
def test_what_cannot_be_rendered(config: dict[str, Any], kind: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        render(Header(kind, config, {}, (), 0))


def test_numbers_of_numpy_are_stored_as_numbers() -> None:
    config = {"order": np.int64(5), "discount": np.float32(0.5), "open": np.bool_(True)}
    raw = render(Header("ngram", config, {}, (), 0))
    about = json.loads(json.loads(raw[8:])["__metadata__"]["unrolled"])
    assert about["config"] == {"order": 5, "discount": 0.5, "open": True}


def test_a_header_never_outgrows_its_space() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        render(Header("ngram", {"a": "x" * 200}, {}, (), 0), 128)
