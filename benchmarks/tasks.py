"""The tasks of `benchmarks.against`, through the public interface, which all commits share.

    python -m benchmarks.tasks FOLDER TEXTS CORES

It reads names of tasks from standard input and writes the seconds of each run. A task is a function
of the folder for files, the folder of texts and the number of cores; it prepares, and returns what
is timed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Timed = Callable[[], Any]

# Words of command lines after the interpreter; MODEL and TEXT are files.
START_UP = {
    "import": ("-c", "import unrolled"),
    "help": ("-m", "unrolled", "--help"),
    "evaluate_command": ("-m", "unrolled", "evaluate", "MODEL", "TEXT"),
    "train_help": ("-m", "unrolled", "train", "net", "--help"),
}
_NET = {"hidden": 200, "epochs": 1, "batch": 32, "bptt": 35, "classes": 100}


def small_model(folder: Path, texts: Path, cores: int) -> Timed:
    """The model of the command line's start-up."""
    import unrolled

    model = unrolled.train_ngram(str(texts / "small.txt"), order=3)
    model.save(folder / "small.safetensors")
    return lambda: None


def estimation(folder: Path, texts: Path, cores: int) -> Timed:
    """Text to a 5-gram model."""
    import unrolled

    return lambda: unrolled.train_ngram(str(texts / "train.txt"), order=5, threads=cores)


def save(folder: Path, texts: Path, cores: int) -> Timed:
    """The model to its file."""
    model = _model(folder, texts, cores)
    return lambda: model.save(folder / "saved.safetensors")


def batch_scoring(folder: Path, texts: Path, cores: int) -> Timed:
    """Perplexity of a text file."""
    import unrolled

    model = _model(folder, texts, cores)
    return lambda: unrolled.evaluate(model, str(texts / "heldout.txt"), threads=cores)


def token_scores(folder: Path, texts: Path, cores: int) -> Timed:
    """Scores of all tokens of a list of sentences."""
    model, sentences = _model(folder, texts, cores), _sentences(texts)
    return lambda: model.token_scores(sentences, threads=cores)


def single_score(folder: Path, texts: Path, cores: int) -> Timed:
    """Sentences scored one at a time."""
    model, sentences = _model(folder, texts, cores), _sentences(texts)[:3000]
    return lambda: [model.score(sentence) for sentence in sentences]


def arpa_write(folder: Path, texts: Path, cores: int) -> Timed:
    """The model to ARPA."""
    import unrolled

    model = _model(folder, texts, cores)
    return lambda: unrolled.write_arpa(model, folder / "model.arpa")


def arpa_read(folder: Path, texts: Path, cores: int) -> Timed:
    """A model from ARPA."""
    import unrolled

    arpa_write(folder, texts, cores)()
    return lambda: unrolled.read_arpa(folder / "model.arpa")


def quantize(folder: Path, texts: Path, cores: int) -> Timed:
    """The model with 8 bits a value."""
    import unrolled

    model = _model(folder, texts, cores)
    function = unrolled.quantize if "quantize" in dir(unrolled) else unrolled.quantise
    return lambda: function(model)


def train_lstm(folder: Path, texts: Path, cores: int) -> Timed:
    """An epoch of an LSTM with word classes."""
    return _train_net(texts, cores, cell="lstm")


def train_elman(folder: Path, texts: Path, cores: int) -> Timed:
    """An epoch of an Elman net with word classes."""
    return _train_net(texts, cores, cell="elman")


def net_evaluation(folder: Path, texts: Path, cores: int) -> Timed:
    """Perplexity of a text under an LSTM."""
    import unrolled

    settings: Any = {**_NET, "hidden": 100}
    net = unrolled.train_net(str(texts / "small.txt"), cell="lstm", threads=cores, **settings)
    return lambda: unrolled.evaluate(net, str(texts / "net.txt"), threads=cores)


def train_tagger(folder: Path, texts: Path, cores: int) -> Timed:
    """An epoch of a BiLSTM-CRF tagger with characters."""
    import unrolled

    # The default number of filters over characters is not the same in all trees.
    settings: Any = {"hidden": 100, "embedding": 50, "character_units": 30, "epochs": 1}
    data = _tagged(texts)[:1500]
    return lambda: unrolled.train_tagger(data, valid=data[:100], threads=cores, **settings)


def tagging(folder: Path, texts: Path, cores: int) -> Timed:
    """Sentences tagged in one call."""
    tagger = train_tagger(folder, texts, cores)()
    sentences = [sentence.words for sentence in _tagged(texts)]

    def run() -> None:
        tagger.forget()
        tagger.predict(sentences)

    return run


def gradients(folder: Path, texts: Path, cores: int) -> Timed:
    """Gradients by lag and Jacobians of a fresh LSTM."""
    import unrolled

    return lambda: unrolled.measure_cell("lstm", hidden=100, steps=35, batch=16)


TASKS = {
    task.__name__: task
    for task in (
        small_model, estimation, save, batch_scoring, token_scores, single_score, arpa_write,
        arpa_read, quantize, train_lstm, train_elman, net_evaluation, train_tagger, tagging,
        gradients,
    )
}  # fmt: skip


def _train_net(texts: Path, cores: int, cell: str) -> Timed:
    import unrolled

    settings: Any = {**_NET, "cell": cell, "threads": cores}
    return lambda: unrolled.train_net(str(texts / "net.txt"), **settings)


def _model(folder: Path, texts: Path, cores: int) -> Any:
    import unrolled

    path = folder / "model.safetensors"
    if not path.exists():
        estimation(folder, texts, cores)().save(path)
    return unrolled.load(path)


def _sentences(texts: Path) -> list[str]:
    return (texts / "heldout.txt").read_text(encoding="utf-8").splitlines()


def _tagged(texts: Path) -> list[Any]:
    """Sentences whose tags are the capitals of their words."""
    from unrolled import TaggedSentence

    lines = (texts / "net.txt").read_text(encoding="utf-8").splitlines()
    rows = [tuple(line.split()[:60]) for line in lines]
    return [
        TaggedSentence(
            tuple(word.lower() for word in words),
            tuple("B-NAME" if word[:1].isupper() else "O" for word in words),
        )
        for words in rows
        if words
    ]


def main() -> None:
    """Answer requests until standard input ends."""
    folder, texts, cores = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    answers, sys.stdout = sys.stdout, sys.stderr
    ready: dict[str, Timed] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            ready[name] = TASKS[name](folder, texts, cores)
            ready[name]()
        begin = time.perf_counter()
        ready[name]()
        print(time.perf_counter() - begin, file=answers, flush=True)


if __name__ == "__main__":
    main()
