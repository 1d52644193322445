"""Compiling all kernels ahead of their first use: ``unrolled compile`` and `compile_kernels`.

A kernel is compiled when it is first called with arguments of its types. So here every kernel is
called, through the functions that users call, on a few words.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import IO, Any

from unrolled.errors import UnrolledError
from unrolled.runtime import code_cache
from unrolled.runtime.threads import usable_cores

Progress = Callable[[int, int, str], None]

ARPA = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-1\t<unk>\t0
-99\t<s>\t-0.3
-1\t</s>\t0
-0.4\ta\t-0.2
-0.9\tb\t0

\\2-grams:
-0.4\t<s> a\t-0.1
-0.3\ta a\t-0.1
-0.5\ta </s>\t0

\\3-grams:
-0.2\t<s> a a

\\end\\
"""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage less often: at Python's own pace that takes a tenth of compiling's time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def compile_kernels(*, processes: int | None = None, progress: Progress | None = None) -> Path:
    """Compile all kernels, those of nets and taggers where torch is installed, and cache the code.

    What is in the cache already is not compiled again.

    Args:
        processes: 1 or 2, which share the work; by default 2 where there are two cores.
        progress: called after each step with the number of steps done, their total, and its name.

    Returns:
        The folder in which the code is cached.

    Raises:
        UnrolledError: no folder for it can be written to, or the other process failed.
    """
    folder = code_cache.folder()
    if folder is None:
        raise UnrolledError(f"compiling ahead is of no use: {code_cache.NO_FOLDER}")
    names = [name for name in STEPS if name not in NEURAL or find_spec("torch")]
    if processes is None:
        processes = min(2, usable_cores())
    steps = _Counter(len(names), progress)
    if processes < 2 or not sys.executable:
        _run(names, steps.done)
    else:
        with _other_process(names[1::2], steps.done):
            _run(names[::2], steps.done)
    return folder


class _Counter:
    """Counts the steps that are done, in whichever process."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._count, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def done(self, name: str) -> None:
        with self._lock:
            self._count += 1
            if self._progress is not None:
                self._progress(self._count, self._total, name)


@contextmanager
def _other_process(names: Sequence[str], done: Callable[[str], None]) -> Iterator[None]:
    """Run steps in a second process, which ends before this does."""
    paths = [str(code_cache.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryFile("w+") as errors:
        other = subprocess.Popen(
            [sys.executable, "-m", "unrolled.compilation", *names],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment,
            text=True,
        )  # fmt: skip
        assert other.stdout is not None
        reader = threading.Thread(target=_report_lines, args=(other.stdout, done))
        reader.start()
        try:
            yield
            other.wait()
        finally:
            other.kill()
            other.wait()
            reader.join()
            other.stdout.close()
        if other.returncode:
            errors.seek(0)
            reason = errors.read().strip().rpartition("\n")[2]
            raise UnrolledError(f"a process that compiled kernels failed: {reason}")


def _report_lines(lines: IO[str], done: Callable[[str], None]) -> None:
    for line in lines:
        done(line.strip())


def _run(names: Sequence[str], done: Callable[[str], None]) -> None:
    with rare_collections(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arpa, text = Path(folder, "a.arpa"), Path(folder, "a.txt")
        arpa.write_text(ARPA, encoding="utf-8")
        text.write_text("a a\na b\n" * 12, encoding="utf-8")
        for name in names:
            STEPS[name](Path(folder))
            done(name)


def _score(folder: Path) -> None:
    """Score with a model of single words, which no other kernel is needed for."""
    import numpy as np

    from unrolled.language_models.evaluation import evaluate
    from unrolled.ngram.model import NgramModel
    from unrolled.ngram.trie.layout import packed_size, word_bits
    from unrolled.ngram.trie.packed_trie import PackedTrie
    from unrolled.text.tokens import tokenise
    from unrolled.text.vocabulary import Vocabulary

    words = {"words": np.frombuffer(b"<unk>\n<s>\n</s>\na\n", np.uint8)}
    nothing = np.empty(0, np.float32)
    trie = PackedTrie(
        levels=np.array([0, 4]),
        words=np.zeros(packed_size(4, word_bits(4)), np.uint64),
        directory=np.empty(0, np.uint64),
        ends=np.empty(0, np.uint32),
        unigrams=np.zeros(4, np.float32),
        log_probs=nothing,
        backoffs=nothing,
    )
    model = NgramModel(trie, Vocabulary.from_arrays(words, "first use"))
    model.log_probs(np.array([1, 3, 2], np.int32))
    evaluate(model, str(folder / "a.txt"), threads=1)
    tokenise("\u00e9".encode() * 40_000)  # so much is checked by a kernel


def _convert(folder: Path) -> None:
    from unrolled.ngram.arpa.files import write_arpa
    from unrolled.ngram.editing.quantization import quantize
    from unrolled.ngram.model import load_ngram
    from unrolled.ngram.training import train_ngram

    model = load_ngram(folder / "a.arpa", "compiling")
    for smoothing in ("katz", "kneser-ney"):  # two forms of quantized models
        trained = train_ngram(folder / "a.txt", order=3, smoothing=smoothing, threads=1)
        write_arpa(quantize(trained, threads=1), folder / "b.arpa")
    write_arpa(model, folder / "b.arpa")


def _edit(folder: Path) -> None:
    import numpy as np

    from unrolled.language_models.generation import predict
    from unrolled.language_models.random_text import generate_lines
    from unrolled.language_models.surprisal_table import surprisal_table
    from unrolled.ngram.editing.mixing import mix, tune_weights
    from unrolled.ngram.editing.pruning import entropy_prune, filter_vocabulary
    from unrolled.ngram.model import load_ngram
    from unrolled.ngram.query.sampling import SamplingTables

    model = load_ngram(folder / "a.arpa", "compiling")
    predict(model, "a", 1)
    list(surprisal_table(model, ["a a"]))
    model.score_beams(model.start_states(), np.array([[3]]))
    list(generate_lines(model, tokens=10, threads=1))
    SamplingTables.of(model.trie, threads=1)  # which only long texts need
    entropy_prune(model, 1e-9, threads=1)
    filter_vocabulary(model, ["a"], threads=1)
    tune_weights([model, model], str(folder / "a.txt"), threads=1)
    mix([model, model], [0.5, 0.5], threads=1)


def _rescore(folder: Path) -> None:
    import numpy as np

    from unrolled.integrations import kenlm
    from unrolled.language_models.cache import CacheModel
    from unrolled.rescoring.nbest import NbestLists
    from unrolled.rescoring.rescore import tune_rescoring
    from unrolled.text.vocabulary import Vocabulary

    model = kenlm.Model(str(folder / "a.arpa"))
    model.score("a")
    assert "a" in model
    model.BaseScore(kenlm.State(), "a", kenlm.State())
    CacheModel(Vocabulary.from_words(["a"])).log_probs(np.array([1, 3, 2], np.int32))
    lists = NbestLists("rnnlm", ["u"], np.array([0, 2]), ["a", "b"], np.zeros(2), None)
    tune_rescoring(lists, np.array([-1.0, -2.0]), ["a"], restarts=0)


def _annotate(_folder: Path) -> None:
    import numpy as np

    from unrolled.documents.json_rows import RowFormat

    form = RowFormat("text", ["oov"], [True])
    rows = form.parse(b'{"text": "a"}\n', 1, str)
    form.write(rows, np.array([True]), np.zeros((1, 1)), np.array([[0, 1]]), np.array([-1]))


def _train_ngrams(folder: Path) -> None:
    from unrolled.ngram.counts.count_files import write_counts
    from unrolled.ngram.counts.counting import count_ngrams
    from unrolled.ngram.training import train_ngram, train_on_counts
    from unrolled.text.corpus import read_corpus
    from unrolled.text.options import TextOptions

    text = folder / "a.txt"
    train_ngram(text, order=3, threads=1)
    train_ngram(text, order=2, smoothing="katz", threads=1)
    train_ngram(text, order=2, options=TextOptions(tokens="char"), threads=1)
    corpus = read_corpus(text, threads=1)
    counts = count_ngrams(corpus.ids, 2, len(corpus.vocabulary), threads=1)
    write_counts(counts, corpus.vocabulary, folder / "counts")
    train_on_counts(folder / "counts", threads=1)


def _train_in_files(folder: Path) -> None:
    from unrolled.ngram.training import ngram_config
    from unrolled.scale.clock import Clock
    from unrolled.scale.estimator import count_levels, estimated_arrays
    from unrolled.scale.split_windows import split_windows
    from unrolled.storage.work_folder import WorkFolder
    from unrolled.text.corpus import read_corpus

    corpus = read_corpus(folder / "a.txt", threads=1)
    for smoothing, quantized in product(("absolute", "katz"), (False, True)):
        config = ngram_config({"order": 4, "smoothing": smoothing})
        with WorkFolder(folder, {}) as work:
            shared: dict[str, Any] = {
                "folder": work, "room": 1 << 20, "threads": 1,
                "clock": Clock(lambda line: None, work, corpus.tokens, 4),
            }  # fmt: skip
            files = count_levels(lambda: [corpus.ids], corpus.word_counts, 4, **shared)
            arrays, _ = estimated_arrays(
                files, config, corpus.word_counts, quantized=quantized, **shared
            )
            for source in arrays.values():
                list(source)
    size, word = len(corpus.vocabulary), corpus.vocabulary.id("a")
    for limit in (12, 11):  # as many as each word after it has, and fewer
        list(split_windows(lambda: [corpus.ids], word, (size, 4), 3, limit, str))


def _train_nets(folder: Path) -> None:
    from unrolled.neural.training import train_net

    text = folder / "a.txt"
    common: dict[str, Any] = {"epochs": 1, "batch": 4, "hidden": 8, "classes": 2, "threads": 1}
    train_net(text, **common)
    train_net(text, cell="elman", tied=False, maxent_size=100, **common)


def _train_taggers(folder: Path) -> None:
    from unrolled.tagging.data.columns import TaggedSentence
    from unrolled.tagging.training import train_tagger

    sentence = TaggedSentence(("Ann", "ran"), ("B-PER", "O"))
    vectors = folder / "vectors.txt"
    vectors.write_text("ann 0.1 0.2\n", encoding="utf-8")
    common: dict[str, Any] = {"hidden": 8, "epochs": 1, "threads": 1, "vectors": vectors}
    for cell in ("elman", "lstm", "gru"):
        tagger = train_tagger([sentence, sentence], cell=cell, **common)
    tagger.predict([["Ann", "ran"]])
    tagger.n_best(["Ann", "ran"], 2)


# In an order in which every other one takes about half of the time.
STEPS: dict[str, Callable[[Path], None]] = {
    "scoring with n-grams": _score,
    "conversion of n-grams": _convert,
    "pruning and mixing": _edit,
    "rescoring": _rescore,
    "annotating documents": _annotate,
    "training of n-grams": _train_ngrams,
    "training over files": _train_in_files,
    "nets": _train_nets,
    "taggers": _train_taggers,
}
NEURAL = ("nets", "taggers")


if __name__ == "__main__":
    _run(sys.argv[1:], lambda name: print(name, flush=True))
