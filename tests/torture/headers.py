"""Hostile headers: each value of each kind of model file set to odd and large values.

A file with any such value, its checksum made right again, either is refused with one sentence or
is a model that works, within `SECONDS` and `BYTES` more than this process had.
"""

from __future__ import annotations

import copy
import json
import math
import random
import resource
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import unrolled
from fuzz.fuzz_storage import joined, split
from small_nets import small_model
from tagging.small_taggers import sentences, small_tagger
from torture.figures import Figures
from unrolled.errors import UnrolledError
from unrolled.language_models.cache import CacheModel
from unrolled.language_models.mixture import Mixture
from unrolled.language_models.scoring import score_sentences
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.model import NgramModel
from unrolled.storage.model_file import prefixed, write_model
from unrolled.tagging.mixture import TaggerMixture

SECONDS = 5
BYTES = 1 << 30
VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 7, 1000, 20_000, 10**6, 10**9, 2**31, 2**53, 2**63, 2**64,
    10**30, 0.5, -0.5, 2.5, 1e-300, 1e300, math.nan, math.inf, -math.inf, "", "x", "relu", "full",
    "cnn", "\ud800", "x" * 100, [], [0], [2**40] * 2, ["x", "x"], [[]], {}, {"x": 1}, {"type": "x"},
]  # fmt: skip
NETS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm", "learn_initial_state": True},
    "gru": {"cell": "gru", "output_layer": "full", "layers": 2, "tied": False, "embedding": 7},
    "elman": {"cell": "elman", "output_layer": "adaptive"},
    "irnn": {"cell": "irnn", "maxent_size": 64, "recurrent_init": "orthogonal"},
    "feed-forward": {"cell": "feed-forward", "order": 3},
}
TAGGERS: dict[str, dict[str, Any]] = {
    "crf": {"characters": "cnn", "columns": (0,)},
    "softmax": {
        "characters": "rnn",
        "output_layer": "softmax",
        "columns": (0,),
        "column_window": 1,
    },
    "states": {"characters": "none", "layers": 2, "output_from": "all"},
}


def write_models(folder: Path) -> list[Path]:
    """A small model of every kind, each in a file."""
    texts = ["the cat sat on the mat .", "the dog ran ."] * 3
    ngram = unrolled.train_ngram(texts=texts, order=3, smoothing="witten-bell")
    models: dict[str, Any] = {"ngram": ngram, "quantized": quantize(ngram)}
    models["cache"] = CacheModel(ngram.vocabulary, half_life=10.0)
    models["mixture"] = Mixture([ngram, models["cache"]], [0.5, 0.5])
    models |= {name: small_model(**settings) for name, settings in NETS.items()}
    net = folder / "net.safetensors"
    models["lstm"].save(net)
    for name, settings in TAGGERS.items():
        given = {**settings, "epochs": 1}
        if name == "states":
            given["language_model"] = str(net)
        models[name] = small_tagger(20, **given)
    models["taggers"] = TaggerMixture([small_tagger(20, epochs=1, seed=seed) for seed in (1, 2)])
    paths = []
    for name, model in models.items():
        paths.append(folder / f"{name}.safetensors")
        model.save(paths[-1])
    return [*paths, _former(models["quantized"], folder / "former.safetensors")]


def _former(model: NgramModel, path: Path) -> Path:
    """A quantized model with the table of its words, as format 2 has it."""
    contents = model.contents()
    words = prefixed("vocabulary.", model.vocabulary.arrays())
    arrays = prefixed("trie.", model.trie.arrays()) | words
    write_model(path, **{**contents, "arrays": arrays})
    return path


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in JSON, containers included; of a long list the first three."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value[:3]):
            yield from places(item, (*path, number))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at one place."""
    result = copy.deepcopy(value)
    target = result
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = new
    return result


def use(path: Path) -> None:
    """Load a model and ask it for everything that commands ask for."""
    model = unrolled.load(path)
    if model.is_tagger:
        model.evaluate(sentences(2))
        return
    score_sentences(model, ["the cat ran"])
    unrolled.predict(model, "the", 2)
    unrolled.generate(model, max_words=3, seed=1)


def attempt(path: Path) -> str | None:
    """What is wrong with how a hostile file is dealt with, if anything."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            use(path)
    except UnrolledError as error:
        return "the message has several lines" if "\n" in str(error) else None
    except TimeoutError:
        return f"it takes more than {SECONDS} s"
    except (Exception, RecursionError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _late(number: int, frame: object) -> None:
    raise TimeoutError


def try_headers(figures: Figures, rng: random.Random, most: int | None = None) -> None:
    """Try all changes of all models, or so many that are drawn."""
    signal.signal(signal.SIGALRM, _late)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with tempfile.TemporaryDirectory() as name:
        models = write_models(Path(name))
        cases = []
        for model in models:
            document, about, _ = split(model.read_bytes())
            for part, header in (("config", about["config"]), ("arrays", document)):
                cases += [(model, part, path, new) for path in places(header) for new in VALUES]
        for model in models:
            use(model)  # compiles and imports what is needed, before memory is limited
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
        try:
            for number, case in enumerate(rng.sample(cases, min(most or len(cases), len(cases)))):
                model, part, path, new = case
                document, about, data = split(model.read_bytes())
                if part == "config":
                    about["config"] = changed(about["config"], path, new)
                else:
                    document = changed(document, path, new)
                file = Path(name) / f"{number}.tmp"  # a new name: the one before may be mapped
                file.write_bytes(joined(document, json.loads(json.dumps(about)), data))
                shown = f"{model.stem}: {part} {'.'.join(map(str, path))} = {new!a:.40}"
                figures.count("hostile headers", shown, attempt(file))
                file.unlink()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
