"""Damaged arrays: models whose weights were overwritten, between guard pages.

Arrays of a small model of every kind are overwritten at random and stored again, so that all
checksums are right. A forked process loads the file, puts each array between two pages that
cannot be read, and asks the model everything: it must end without a signal or traceback, within
`SECONDS` and with `BYTES` of memory at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import faulthandler
import mmap
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import unrolled
from fuzz.fuzz_trie import overwrite
from tagging.small_taggers import sentences
from torture.figures import Figures
from torture.headers import write_models
from unrolled.errors import UnrolledError
from unrolled.language_models.scoring import score_sentences, surprisals
from unrolled.ngram.arpa.files import write_arpa
from unrolled.ngram.editing.pruning import entropy_prune
from unrolled.ngram.editing.quantization import quantize
from unrolled.storage.loading import model_of
from unrolled.storage.model_file import read_model, write_model

SECONDS = 5
BYTES = 1 << 30
TEXTS = ["the cat ran", "", "a dog the the sat on xyzzy mat ."]
_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_maps: list[mmap.mmap] = []  # lives as long as the process of one case


def guarded(array: np.ndarray[Any, Any], *, at_end: bool) -> np.ndarray[Any, Any]:
    """A copy that ends, or begins, at a page which cannot be read."""
    pages = max(-(-array.nbytes // _PAGE), 1)
    space = mmap.mmap(-1, (pages + 2) * _PAGE)
    _maps.append(space)
    start = ctypes.addressof(ctypes.c_char.from_buffer(space))
    offset = _PAGE + (pages * _PAGE - array.nbytes if at_end else 0)
    copy = np.frombuffer(space, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False  # as what is mapped from a file
    for page in (start, start + (pages + 1) * _PAGE):
        if _libc.mprotect(ctypes.c_void_p(page), _PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return copy


def ask(path: Path, *, at_end: bool) -> None:
    """Load a model with its arrays between guard pages, and ask it everything."""
    file = read_model(path, verify=True)
    arrays = {name: guarded(array, at_end=at_end) for name, array in file.arrays.items()}
    model: Any = model_of(dataclasses.replace(file, arrays=arrays))
    if model.is_tagger:
        _try(lambda: model.evaluate(sentences(3)))
        _try(lambda: model.predict([["Ann", "ran"]]))
        return
    for question in (
        lambda: score_sentences(model, TEXTS),
        lambda: unrolled.evaluate(model, texts=TEXTS * 20),
        lambda: list(surprisals(model, TEXTS)),
        lambda: unrolled.predict(model, "the cat", 3),
        lambda: unrolled.generate(model, max_words=5, seed=1),
        lambda: unrolled.rank(model, TEXTS),
    ):
        _try(question)
    if file.kind == "ngram":
        for question in (
            lambda: quantize(model).save(path.with_suffix(".quantized")),
            lambda: entropy_prune(model, 1e-3),
            lambda: unrolled.filter_vocabulary(model, ["the", "cat"]),
            lambda: write_arpa(model, path.with_suffix(".arpa")),
            lambda: unrolled.mix([model, model], [0.5, 0.5]),
        ):
            _try(question)


def _try(question: Any) -> None:
    """An error of one sentence is an answer."""
    try:
        question()
    except UnrolledError as error:
        if "\n" in str(error):
            raise AssertionError(f"several lines: {error}") from error


def damage(good: Path, target: Path, rng: random.Random) -> None:
    """Store a model again with one to four of its arrays overwritten."""
    file = read_model(good)
    arrays = dict(file.arrays)
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(list(arrays))
        arrays[name] = overwrite(arrays[name], rng)
    write_model(target, kind=file.kind, config=file.config, arrays=arrays)


def outcome(path: Path, log: Path, *, at_end: bool) -> str | None:
    """What is wrong with how a process of its own deals with a file, if anything."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            faulthandler.enable(file)
            signal.alarm(SECONDS)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(UnrolledError):
                    ask(path, at_end=at_end)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            code = 4 if 1024 * grown > BYTES else 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
            code = 3
        os._exit(code)
    began = time.monotonic()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    if code == 3:
        return log.read_text(errors="replace").strip().splitlines()[-1][:200]
    if code == 4:
        return "it takes more than 1 GB"
    return f"ends with {code} after {time.monotonic() - began:.1f} s"


def try_damaged_arrays(
    figures: Figures, rng: random.Random, count: int, keep: Path | None = None
) -> None:
    """Damage so many models; those that do harm are stored in the folder `keep`."""
    with tempfile.TemporaryDirectory() as name:
        models = write_models(Path(name))
        target, log = Path(name) / "damaged.safetensors", Path(name) / "log"
        for model in models:  # compiles and imports what is needed, before processes fork
            ask(model, at_end=True)
        for number in range(count):
            model = rng.choice(models)
            at_end = bool(number % 2)
            damage(model, target, rng)
            problem = outcome(target, log, at_end=at_end)
            figures.count("damaged arrays between guard pages", f"{model.stem} {number}", problem)
            if problem and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                target.rename(keep / f"{model.stem}-{number}.safetensors")
