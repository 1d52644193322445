"""Fuzz the loading of model files: broken ones must end in a FormatError, and in nothing else.

    python tests/fuzz/fuzz_storage.py --seconds 60 --seed 1 [--model FILE.safetensors ...]

Each round breaks a good file (a tiny one made here, or one of ``--model``) in one to four random
places, and in half of the rounds makes the header's checksum right again, as an attacker would.
What loads nevertheless is read to the end. A file that raises anything else, or hangs, is kept in
``--keep`` and named, and the exit code is 1. With ``--load``, whole models are made of the files
with `unrolled.load` and asked one question, which also needs kernels that stay in bounds.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.watchdog import time_limit
from unrolled.errors import FormatError
from unrolled.storage.loading import load
from unrolled.storage.model_file import read_model, write_model

START = rb'{"__metadata__":{"unrolled":"{\"header_crc32\":\"'
DIGITS = slice(8 + len(START), 16 + len(START))
NUMBERS = [0, 1, -1, 2, 63, 64, 65, 2**31 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**64, 10**30]
VALUES: list[Any] = [
    *NUMBERS,
    None,
    True,
    1.5,
    "",
    "F32",
    "U8",
    [],
    [0],
    [2**40, 2**40],
    {},
    "x" * 99,
]
ROUND_SECONDS = 10.0


def sealed(data: bytes) -> bytes:
    """The file with the checksum of its header made right, if it is long enough to have one."""
    if len(data) < DIGITS.stop:
        return data
    end = min(8 + int.from_bytes(data[:8], "little"), len(data))
    crc = zlib.crc32(data[DIGITS.stop : end], zlib.crc32(data[: DIGITS.start]))
    return data[: DIGITS.start] + f"{crc:08x}".encode() + data[DIGITS.stop :]


def split(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """A good file as the JSON of its arrays, the JSON about it, and its data."""
    end = 8 + int.from_bytes(data[:8], "little")
    document = json.loads(data[8:end])
    about = json.loads(document.pop("__metadata__")["unrolled"])
    return document, about, data[end:]


def joined(document: Any, about: Any, data: bytes, *, spaces: int | None = None) -> bytes:
    """The opposite of `split`: a file with its checksum right, whatever nonsense it holds.

    A text or bytes for `about` or `document` stands as it is in the place of the JSON.
    """
    if isinstance(about, dict):
        about = json.dumps({"header_crc32": "00000000"} | about, separators=(",", ":"))
    if isinstance(document, dict):
        document = {"__metadata__": {"unrolled": about}} | document
        document = json.dumps(document, separators=(",", ":")).encode()
    if spaces is None:
        spaces = -(8 + len(document)) % 64
    document += b" " * spaces
    return sealed(len(document).to_bytes(8, "little") + document + data)


def seeds(folder: Path) -> list[Path]:
    """Good files to begin with."""
    paths = [folder / f"{name}.safetensors" for name in ("empty", "small", "mixed")]
    write_model(paths[0], kind="ngram", config={}, arrays={})
    small = {"a": np.arange(10, dtype=np.int32), "b": np.zeros((0, 3)), "c": np.array(3.5)}
    write_model(paths[1], kind="ngram", config={"order": 3, "x": [1, {"y": None}]}, arrays=small)
    kinds = ["b1", "u1", "i2", "u4", "f4", "f8", "c8"]
    mixed = {f"layer.{k}": np.ones((3, i), k) for i, k in enumerate(kinds)}
    write_model(paths[2], kind="tagger", config={"é": "\ud800"}, arrays=mixed)
    return paths


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Break a file in one to four places."""
    if rng.random() < 0.4:
        data = _mutate_json(data, rng)
    for _ in range(rng.randint(1, 4) if rng.random() < 0.7 else 0):
        data = _mutate_bytes(data, rng)
    return sealed(data) if rng.random() < 0.5 else data


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat or insert some bytes, mostly in the header."""
    raw = bytearray(data)
    limit = len(raw) if rng.random() < 0.3 else min(len(raw), 1500)
    at = rng.randrange(limit + 1)
    length = rng.choice([1, 1, 1, 2, 8, 64, 300])
    match rng.randrange(7):
        case 0:
            raw[at : at + 1] = bytes([raw[at] ^ 1 << rng.randrange(8)]) if at < len(raw) else b"\0"
        case 1:
            raw[at : at + length] = rng.randbytes(length)
        case 2:
            del raw[at : at + length]
        case 3:
            raw[at:at] = raw[at : at + length]
        case 4:
            del raw[at:]
        case 5:
            raw[:8] = rng.choice([n for n in NUMBERS if 0 <= n < 2**64]).to_bytes(8, "little")
        case 6:
            raw[at:at] = rng.choice(
                [b'"', b"\\", b"{", b"[" * 3000, b"]", b",", b"9" * 5000, b"\0"]
            )
    return bytes(raw)


def _mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Change a value somewhere in the header, keeping it well-formed."""
    document, about, arrays = split(data)
    target: Any = rng.choice([document or about, about])
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = rng.choice(keys)
        if isinstance(target[key], dict | list) and target[key] and rng.random() < 0.8:
            target = target[key]
            continue
        break
    match rng.randrange(4):
        case 0:
            del target[key]
        case 1 if isinstance(target[key], int):
            target[key] += rng.choice([-64, -1, 1, 64, 2**32, 2**62])
        case 2 if isinstance(target, dict):
            target[rng.choice(["a", "crc32", "__pad_0__", "__metadata__", ""])] = target[key]
        case _:
            target[key] = rng.choice(VALUES)
    return joined(document, about, arrays)


def attempt(path: Path, rng: random.Random, whole: bool) -> str:
    """Open a broken file and read all of it; what came of it, for the summary."""
    try:
        if whole:
            model = load(path)
            model.score("the cat is small")
            return "loaded"
        file = read_model(path, verify=rng.random() < 0.5)
        for array in file.arrays.values():
            array.tobytes()
    except FormatError as error:
        if "\n" in str(error) or str(path) not in str(error):
            raise AssertionError(f"the message lacks the path or has two lines: {error}") from error
        return "refused"
    return "loaded"


def fuzz(
    seconds: float, seed: int, models: list[Path], keep: Path, whole: bool = False
) -> dict[str, int]:
    """Break files for some seconds; raises what the first failing file raised."""
    outcomes = {"refused": 0, "loaded": 0}
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        good = [path.read_bytes() for path in models or seeds(Path(name))]
        while time.monotonic() < deadline:
            # A new name each time: the file before may still be mapped.
            path = Path(name) / f"broken-{sum(outcomes.values())}.safetensors"
            path.write_bytes(data := mutate(rng.choice(good), rng))
            try:
                with time_limit(ROUND_SECONDS):
                    outcomes[attempt(path, rng, whole)] += 1
            except BaseException:
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"storage-{zlib.crc32(data):08x}.safetensors"
                kept.write_bytes(data)
                print(f"seed {seed}: this file fails and was kept: {kept}", file=sys.stderr)
                raise
            path.unlink()
    return outcomes


def main() -> None:
    """Read the options and fuzz."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    faulthandler.enable()
    outcomes = fuzz(options.seconds, options.seed, options.model, options.keep, options.load)
    print(", ".join(f"{count} files {outcome}" for outcome, count in outcomes.items()))


if __name__ == "__main__":
    main()
