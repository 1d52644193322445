"""Fuzz the readers of text formats: a broken file ends in an UnrolledError, and in nothing else.

    python tests/fuzz/fuzz_readers.py --seconds 60 --seed 1 [--reader NAME ...]

Each round breaks a good file (one of `READERS`) in one to four random places and reads it. A file
that raises anything else, takes long, or fills memory is written to ``tests/fuzz/corpus/`` under
the name of its reader, named, and the exit code is 1. What is in that folder is read by the tests
for ever. Model files have `fuzz_storage`, ARPA files `fuzz_arpa`, damaged arrays `fuzz_trie`.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import sys
import tempfile
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.mutations import mutate
from fuzz.watchdog import time_limit
from unrolled.cli.options import read_words
from unrolled.errors import UnrolledError
from unrolled.language_models.sentences import words_of
from unrolled.language_models.stimuli import sentences_of_table
from unrolled.language_models.stimulus_options import StimulusOptions
from unrolled.ngram.counts.count_files import read_counts
from unrolled.report.tables import read_results
from unrolled.rescoring.nbest import read_nbest, read_references
from unrolled.tagging.data.columns import read_columns
from unrolled.text.alignment import owners_of_tokens
from unrolled.text.corpus import read_corpus
from unrolled.text.options import TextOptions
from unrolled.text.vocabulary import Vocabulary
from unrolled.text.word_vectors import read_vectors, read_word_vectors

CORPUS = Path(__file__).with_name("corpus")
ROUND_SECONDS = 20.0
MOST_MEMORY = 300e6


class Reader(NamedTuple):
    """A good file's suffix and contents, and what reads it."""

    suffix: str
    contents: tuple[bytes, ...]
    read: Callable[[Path], Any]


def _nbest(format: str) -> Callable[[Path], Any]:
    return lambda path: read_nbest(str(path), format)


def _references(path: Path) -> None:
    lists = path.with_name("lists.txt")
    lists.write_bytes(MOSES)
    read_references(str(path), read_nbest(str(lists), "moses"))


def _vectors(path: Path) -> None:
    read_word_vectors(path, ["the", "cat"])
    read_vectors(path, most=2)


def _table(path: Path) -> None:
    options = StimulusOptions(punctuation="summed", sentences="marks", region_mark="|")
    characters = TextOptions(tokens="char", lower=True, normalise="nfkc")
    for sentence in sentences_of_table(path, options):
        owners = owners_of_tokens(sentence.text, sentence.words, characters)
        assert owners.size == len(words_of(sentence.text, characters))


def _row(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


MOSES = b"0 ||| the cat ||| LM0: -3 D= 1 ||| -1\n0 ||| a dog ||| LM0: -2 ||| -2\n"
CONLLU = (
    b"# newdoc id = a\n# text = EU no\n1-2\tEUno\t_\t_\t_\t_\t_\t_\t_\t_\n"
    b"1\tEU\tEU\tPROPN\tNNP\t_\t0\troot\t_\t_\n2\tno\tno\tVERB\tVB\t_\t1\tx\t_\t_\n\n"
)
GERMEVAL = b"#\thttp://x [2009]\n1\tSchartau\tB-PER\tO\n2\tsagte\tO\tO\n\n"
READERS: dict[str, Reader] = {
    "counts": Reader(
        ".txt", (b"<s>\t2\nthe\t3\ncat\t2\n</s>\t2\n<s> the\t2\nthe cat\t2\ncat </s>\t2\n",),
        read_counts,
    ),
    "columns": Reader(
        ".txt",
        (b"-DOCSTART- -X- O\n\nEU NNP B-ORG\nno VB O\n\nAnn NNP I-PER\n", CONLLU, GERMEVAL,
         _row(tokens=["Ann", "ran"], ner_tags=["B-PER", "O"]) * 2,
         _row(tokens=["Ann"], ner_tags=[1])),
        read_columns,
    ),
    "text": Reader(
        ".txt", (b"the cat sat\n\nthe dog\n", "naïve été \U0001f600 नमस्ते\n".encode()),
        lambda path: read_corpus(path),
    ),
    "characters": Reader(
        ".txt", ("naïve été e\u0301 नमस्ते\n".encode(),),
        lambda path: read_corpus(path, options=TextOptions(tokens="char", lower=True)),
    ),
    "json text": Reader(
        ".jsonl", (_row(text="the cat", id=1) + _row(text="a\nb \ud83d\ude00", more=[{}]),),
        lambda path: read_corpus(path, options=TextOptions(field="text")),
    ),
    "vectors": Reader(
        ".txt",
        (b"2 3\nthe 1 2 3\ncat 0.5 -1e-3 7\n", b"the 1 2\ncat 3 4\n",
         b"2 2\nthe \0\0\x80\x3f\0\0\0\x40\ncat \0\0\0\0\0\0\0\0\n"),
        _vectors,
    ),
    "vocabulary": Reader(
        ".txt", (b"the\ncat\n<unk>\n",),
        lambda path: Vocabulary.from_words(read_words(path) or []),
    ),
    "moses": Reader(".txt", (MOSES,), _nbest("moses")),
    "kaldi": Reader(".txt", (b"utt1-1 the cat\nutt1-2 a dog\nutt2-1 x\n",), _nbest("kaldi")),
    "rnnlm": Reader(".txt", (b"1 the cat\n1 a dog\n2 x\n",), _nbest("rnnlm")),
    "srilm": Reader(
        ".txt",
        (b"-10.5 -3.2 2 the cat\n-11 -4 2 a dog\n",
         b"NBestList1.0\n(-123) the cat\n(-124) a dog\n",
         b"NBestList2.0\n(-12) the ( st: 0.0 et: 0.1 g: 0 a: -3 ) cat ( st: 1 et: 2 g: 0 a: 1 )\n"),
        _nbest("srilm"),
    ),
    "tables": Reader(
        "",
        (b'item,text\n1,"the cat, ""x""\nsat."\n2,a dog\n', b"\xef\xbb\xbfSentence;n\r\na b;1\r\n",
         _row(text="the cat", n=[1, None]) + _row(text="x \ud83d\ude00 \ud800", n={}),
         "text\tn\nनमस्ते İ ﬁ … e\u0301\t\n".encode(), b"a line\n\nof text\n"),
        _table,
    ),
    "references": Reader(".txt", (b"the cat\na dog\n",), _references),
    "results": Reader(
        ".json", (b'{"rows": [], "texts": {"a": {"b": 1}}, "machine": {}, "settings": {}}',),
        read_results,
    ),
}  # fmt: skip


def attempt(reader: Reader, path: Path) -> str:
    """Read a file, and return whether it was refused; raises whatever a user must not see."""
    tracemalloc.start()
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader.read(path)
            outcome = "read"
        except UnrolledError as error:
            if "\n" in str(error):
                raise AssertionError(f"two lines in the message: {error!r}") from error
            outcome = "refused"
    most, took = tracemalloc.get_traced_memory()[1], time.monotonic() - began
    tracemalloc.stop()
    if most > MOST_MEMORY or took > ROUND_SECONDS / 2:
        raise AssertionError(f"it takes {most / 1e6:.0f} MB and {took:.1f} s")
    return outcome


def one_round(name: str, rng: random.Random, folder: Path) -> str:
    """Break a good file of a reader and read it; keeps the file if that fails."""
    reader = READERS[name]
    data = mutate(rng.choice(reader.contents), rng)
    suffix = reader.suffix + (".gz" if data[:2] == b"\x1f\x8b" else "")
    path = folder / f"broken{suffix}"
    path.write_bytes(data)
    try:
        with time_limit(ROUND_SECONDS):
            return attempt(reader, path)
    except BaseException:
        found = CORPUS / name / f"{zlib.crc32(data):08x}{suffix}"
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(data)
        print(f"this file fails and is in the corpus now: {found}", file=sys.stderr)
        raise


def main() -> int:
    """Read the options, fuzz, and print how many files were read and refused."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", choices=sorted(READERS))
    options = parser.parse_args()
    faulthandler.enable()
    names = options.reader or sorted(READERS)
    tried = dict.fromkeys(names, 0)
    failed = refused = 0
    rng = random.Random(options.seed)
    until = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until:
            name = rng.choice(names)
            tried[name] += 1
            try:
                refused += one_round(name, rng, Path(folder)) == "refused"
            except Exception as error:
                failed += 1
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    each = ", ".join(f"{name} {count}" for name, count in tried.items())
    print(f"{sum(tried.values())} files, {refused} refused, {failed} failures ({each})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
