"""Tongrams, where it is built: its estimator, the fastest published (Pibiri and Venturini 2019).

The programs are looked for in the folders that the environment variable TONGRAMS_BIN names (with a
colon between two), then on PATH. They are not on PyPI: build https://github.com/jermp/tongrams and
https://github.com/jermp/tongrams_estimation with cmake (they need Boost and sparsehash) outside
this repository.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

from benchmarks.measure import BenchmarkError, Run, find_program, run_command

_LARGE = 50_000_000  # bytes
# The forms that may be its smallest: Elias-Fano and its partitioned kind, words remapped or not.
FORMS = tuple((kind, remapping) for kind in ("ef_trie", "pef_trie") for remapping in (0, 1, 2))


def find(program: str) -> Path | None:
    """Where one of the programs is, or None."""
    return find_program(program, "TONGRAMS_BIN")


def missing(*programs: str) -> str:
    """A sentence that names what is not built; empty when all is there."""
    lacking = [name for name in programs if find(name) is None]
    if not lacking:
        return ""
    names = ", ".join(lacking)
    return f"tongrams' {names} not found: build tongrams and set TONGRAMS_BIN to its folders build"


def estimate(text: Path, model: Path, *, order: int, threads: int) -> Run:
    """Estimate modified Kneser-Ney from text to tongrams' binary trie, in memory.

    It takes at once all that it is given: its own default for small texts, 8 GiB for large ones.
    """
    program = find("estimate")
    if program is None:
        raise BenchmarkError(missing("estimate"))
    gigabytes = 1 if text.stat().st_size < _LARGE else 8
    with tempfile.TemporaryDirectory(prefix="tongrams-", dir=model.parent) as folder:
        options = ["--ram", str(gigabytes), "--thr", str(threads), "--tmp", f"{folder}/new"]
        return run_command([program, text, str(order), *options, "--out", model])


def sorted_arpa(arpa: Path, target: Path, order: int) -> None:
    """An ARPA file with its n-grams in the order that tongrams builds tries from."""
    program = find("sort_arpa")
    if program is None:
        raise BenchmarkError(missing("sort_arpa"))
    plain, vocabulary = target.with_suffix(".plain"), target.with_suffix(".vocabulary.gz")
    words = []
    with arpa.open("rb") as lines, plain.open("wb") as out, target.open("wb") as head:
        section = 0
        for line in lines:
            if line.startswith(b"# "):
                continue
            out.write(line)
            section += line.startswith(b"\\")  # \data\, \1-grams:, ...
            if section < 3:
                head.write(line)
                if section == 2 and b"\t" in line:
                    words.append(line.split(b"\t")[1].strip())
    with gzip.open(vocabulary, "wb") as out:
        out.write(b"%d\n" % len(words))
        out.writelines(b"%s\t%d\n" % (word, len(words) - at) for at, word in enumerate(words))
    with target.open("ab") as out:
        for length in range(2, order + 1):
            piece = target.with_suffix(f".{length}")
            with tempfile.TemporaryDirectory(prefix="tongrams-", dir=target.parent) as folder:
                options = ["--tmp", f"{folder}/new", "--ram", "20"]
                run_command([program, str(length), plain, vocabulary, piece, *options])
            with piece.open("rb") as lines:
                shutil.copyfileobj(lines, out)
            out.write(b"\n")
            piece.unlink()
        out.write(b"\\end\\\n")
    plain.unlink()
    vocabulary.unlink()


def build_trie(arpa: Path, model: Path, form: tuple[str, int], order: int) -> Run:
    """A trie with 8 bits a value in one of the forms, from what `sorted_arpa` wrote."""
    program = find("build_trie")
    if program is None:
        raise BenchmarkError(missing("build_trie"))
    options = ["--remapping", str(form[1]), "--p", "8", "--b", "8", "--arpa", arpa]
    return run_command([program, form[0], str(order), "prob_backoff", *options, "--out", model])


def score(model: Path, text: Path) -> Run:
    """Score a text, without marks of sentences; the model is read first."""
    program = find("score")
    if program is None:
        raise BenchmarkError(missing("score"))
    return run_command([program, model, text])
