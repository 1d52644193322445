"""Fuzz the kernels with damaged models: they must stay inside their arrays, and end.

    python tests/fuzz/fuzz_trie.py --seconds 60 --seed 1 [--unchecked]

Each round overwrites some arrays of a good model at random and asks it everything. Kernels are
compiled with checks of every index (their cache lies apart), so that one that leaves its arrays
raises IndexError; ``--unchecked`` runs them as users do. What the checks of a model file refuse is
refused with FormatError; any other exception, or a round that takes long, is printed with its seed,
and the exit code is 1. The good models are trained and quantized here, under the same checks.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__" and "--unchecked" not in sys.argv:  # before Numba is imported
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ.setdefault(
        "NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir(), "unrolled-checked-kernels"))
    )

import argparse
import faulthandler
import random
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from unrolled.errors import FormatError, NotNormalisedError, UnrolledWarning
from unrolled.integrations import kenlm
from unrolled.language_models.generation import generate, predict
from unrolled.ngram.arpa.files import write_arpa
from unrolled.ngram.counts.counting import count_ngrams
from unrolled.ngram.editing.mixing import mix
from unrolled.ngram.editing.pruning import entropy_prune, filter_vocabulary
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.estimator import estimate
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import PackedTrie, pack
from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
ROUND_SECONDS = 20.0
NUMBERS = [0, 1, 2, 3, 63, 64, 65, 127, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]
FLOATS = [0.0, -0.0, 1.0, -1.0, 499.0, 3e38, -3e38, np.inf, -np.inf, np.nan, 1e-45]


def good_models() -> list[NgramModel]:
    """Models of several orders, sizes and smoothings, each plain and quantized."""
    models = []
    for order, size, smoothing in [
        (1, 5, "witten-bell"),
        (2, 300, "maximum-likelihood"),
        (3, 70, "modified-kneser-ney"),
        (3, 9, "katz"),
        (5, 12, "stupid-backoff"),
        (9, 6, "absolute"),
    ]:
        draw = np.random.default_rng(order)
        lines = [
            [1, *(np.minimum(draw.zipf(1.3, draw.integers(12)), size - 3) + 2).tolist(), 2]
            for _ in range(200)
        ]
        ids = np.array([word for line in lines for word in line], np.int32)
        config = NgramConfig(order=order, smoothing=smoothing, prune=(0, 0, 1)[:order])
        table = estimate(count_ngrams(ids, order, size), config).table
        vocabulary = Vocabulary.from_words([f"w{number}" for number in range(3, size)])
        models.append(NgramModel(pack(table), vocabulary, asdict(config)))
    return models + [quantize(model) for model in models]


def overwrite(array: Array, draw: random.Random) -> Array:
    """The array with some of it overwritten; sometimes longer or shorter."""
    array = np.array(array)
    if array.size == 0:
        return array
    raw = array.reshape(-1).view(np.uint8)
    at = draw.randrange(array.size)
    flat = array.reshape(-1)
    match draw.randrange(8):
        case 0:
            for _ in range(draw.randint(1, 8)):
                raw[draw.randrange(raw.size)] ^= 1 << draw.randrange(8)
        case 1:
            raw[:] = np.frombuffer(draw.randbytes(raw.size), np.uint8)
        case 2:
            stop = draw.randint(at, array.size)
            flat[at:stop] = flat[at:stop][::-1].copy()
        case 3 if array.dtype.kind == "f":
            flat[at : at + draw.randint(1, 30)] = draw.choice(FLOATS)
        case 3:
            number = np.array([draw.choice(NUMBERS)], np.uint64).astype(array.dtype)
            flat[at : at + draw.randint(1, 30)] = number
        case 4:
            raw[:] = draw.choice([0, 255])
        case 5:
            flat[at:] = np.roll(flat[at:], draw.randint(-3, 3))
        case 6:
            with np.errstate(all="ignore"):
                flat[at] += array.dtype.type(draw.choice([1, 2, 3]))
        case 7 if array.ndim == 1:
            return array[:at] if draw.random() < 0.5 else np.append(array, array[:at])
    return array


def damaged(model: NgramModel, draw: random.Random) -> PackedTrie:
    """A trie of the model's arrays, one to four of them overwritten.

    Raises:
        FormatError: sizes do not fit.
    """
    arrays = dict(model.trie.arrays())
    for _ in range(draw.randint(1, 4)):
        name = draw.choice(list(arrays))
        arrays[name] = overwrite(arrays[name], draw)
    return PackedTrie.from_arrays(arrays, "damaged")


def question(model: NgramModel, good: NgramModel, draw: random.Random, folder: Path) -> None:
    """Everything that can be asked of a model, each question's FormatError being an answer."""
    size, order = model.trie.vocabulary_size, model.order
    numbers = np.random.default_rng(draw.randrange(2**32))
    ids = numbers.integers(-2, size + 3, 300).astype(np.int32)
    ids[numbers.random(300) < 0.1] = 1
    model.log_probs(ids)
    text = " ".join(good.vocabulary.words(np.abs(ids) % size))
    _answer(lambda: model.token_scores([text]))
    states = [model.start(), model.start(bos=False)]
    states += [numbers.integers(-5, int(model.trie.levels[-1]) + 5, order) for _ in range(3)]
    states += [numbers.integers(-(2**63), 2**63 - 1, order)]
    for state in states:
        for word in (draw.randrange(size), -1, 2**31 - 1):
            state = model.step(state, word)[0]
        _answer(lambda state=state: model.next_log_probs(state))
    _answer(lambda: _decode(model))
    _answer(lambda: predict(model, "w3 w4", 3))
    _answer(lambda: generate(model, seed=1, max_words=5))
    _answer(lambda: quantize(model))
    _answer(lambda: write_arpa(model, folder / "damaged.arpa"))
    _answer(lambda: entropy_prune(model, 1e-3))
    _answer(lambda: filter_vocabulary(model, ["w3", "w5"]))
    _answer(lambda: mix([model, good], [0.5, 0.5]))
    _answer(lambda: _edit(model.trie, numbers))


def _decode(model: NgramModel) -> None:
    decoder = kenlm.Model.from_model(model)
    list(decoder.full_scores("w3 w4 w5 unseen w3"))
    state = kenlm.State()
    decoder.BeginSentenceWrite(state)
    for word in ["w3", "w4", "w3", "</s>", "w5"]:
        decoder.BaseScore(state, word, state)


def _edit(trie: PackedTrie, numbers: np.random.Generator) -> None:
    table = trie.unpack()
    for length in range(1, table.order + 1):
        table.ngrams(length)
    keep = numbers.random(int(table.levels[-1])) < 0.7
    keep[: table.levels[1]] = True
    for length in range(2, table.order + 1):
        keep[table.level(length)] &= keep[table.parents(length)]
    table.link_suffixes()
    pack(table.select(keep))


def _answer(ask: Callable[[], Any]) -> None:
    with suppress(FormatError, NotNormalisedError):
        ask()


def one_round(models: list[NgramModel], seed: int, folder: Path) -> bool:
    """Damage a model and question it; whether its arrays got past the checks of sizes."""
    draw = random.Random(seed)
    good = draw.choice(models)
    try:
        trie = damaged(good, draw)
        model = NgramModel(trie, good.vocabulary, good.config)
    except FormatError:
        return False
    question(model, good, draw, folder)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10**9)
    parser.add_argument("--unchecked", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", UnrolledWarning)
    failed = opened = seed = 0
    with tempfile.TemporaryDirectory() as folder:
        models = good_models()
        for model in models:
            question(model, model, random.Random(0), Path(folder))
        stop = time.monotonic() + options.seconds
        for seed in range(options.seed, options.seed + options.rounds):
            if time.monotonic() > stop:
                break
            faulthandler.dump_traceback_later(ROUND_SECONDS, exit=True)
            try:
                opened += one_round(models, seed, Path(folder))
            except Exception:
                failed += 1
                print(f"seed {seed}:", traceback.format_exc(), sep="\n", file=sys.stderr)
            faulthandler.cancel_dump_traceback_later()
    rounds = seed - options.seed
    print(f"{rounds} damaged models, {opened} past the checks of sizes, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
