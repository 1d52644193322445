"""What happens when kernels have to be compiled: a note, and all others on a second core.

Numba compiles a kernel when it is first called, and keeps it. Compiling all of them takes one core
some twenty seconds, most of it in Python, where threads do not help. So the first command that has
to compile starts this module as a process of its own, which calls every kernel on a few words.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARPA = """\\data\\
ngram 1=4
ngram 2=3
ngram 3=1

\\1-grams:
-1\t<unk>\t0
-99\t<s>\t-0.3
-1\t</s>\t0
-0.4\ta\t-0.2

\\2-grams:
-0.4\t<s> a\t-0.1
-0.3\ta a\t-0.1
-0.5\ta </s>\t0

\\3-grams:
-0.2\t<s> a a

\\end\\
"""

_say: Callable[[str], None] | None = None  # how the running command tells of compiling


@contextmanager
def compiling_announced(say: Callable[[str], None]) -> Iterator[None]:
    """Say so, once, when kernels have to be compiled, and compile the others on a second core."""
    global _say
    _say = say
    try:
        yield
    finally:
        _say = None


def before_numba() -> None:
    """Import Numba without SciPy, if a command runs.

    Where there is SciPy, Numba imports it for the linear algebra of kernels, of which ours have
    none: that is a sixth of the time a command takes to start. Who needs SciPy later, gets it.
    """
    if _say is None or "scipy" in sys.modules:
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        sys.modules.pop("scipy", None)


def kernel_compiles() -> None:
    """To be called when the compiler begins with a kernel."""
    global _say
    if _say is not None:
        say, _say = _say, None
        say("note: compiling kernels, once after installation (some seconds) ...\n")
        compile_in_background()


def compile_in_background() -> None:
    """Start compiling what the running command will not need but the next ones will."""
    environment = {**os.environ, "UNROLLED_COMPILING": "1"}
    if os.environ.get("UNROLLED_COMPILING") or (os.cpu_count() or 1) < 2:
        return
    subprocess.Popen(
        [sys.executable, "-m", "unrolled.compilation"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage less often: at Python's own pace that takes a tenth of compiling's time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def compile_all() -> None:
    """Call every kernel that the command line uses.

    The command that runs meanwhile is most likely `train`, which compiles all that it needs itself.
    So this begins with what other commands need, and comes to reading, counting and estimating when
    those are compiled: else both would compile the same.
    """
    import warnings

    warnings.simplefilter("ignore")
    with rare_collections(), tempfile.TemporaryDirectory() as folder:
        arpa, text = Path(folder, "a.arpa"), Path(folder, "a.txt")
        arpa.write_text(ARPA, encoding="utf-8")
        text.write_text("a a\na b\n" * 3, encoding="utf-8")
        _score(text)
        _convert(arpa, Path(folder))
        _rescore()
        _query(arpa, text)
        _train(text, Path(folder))


def _score(text: Path) -> None:
    """Score with a model of single words, which no other kernel is needed for."""
    import numpy as np

    import unrolled
    from unrolled.ngram.model import NgramModel
    from unrolled.ngram.trie.layout import packed_size, word_bits
    from unrolled.ngram.trie.packed_trie import PackedTrie
    from unrolled.text.tokens import tokenise
    from unrolled.text.vocabulary import Vocabulary

    words: dict[str, Any] = {
        "text": np.frombuffer(b"<unk><s></s>a", np.uint8),
        "offsets": np.array([0, 5, 8, 12, 13], np.uint32),
        "slots": np.zeros(8, np.uint64),
    }
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
    unrolled.evaluate(model, str(text), threads=1)
    tokenise("\u00e9".encode() * 40_000)  # so much is checked by a kernel


def _convert(arpa: Path, folder: Path) -> None:
    from unrolled.ngram.arpa.files import write_arpa
    from unrolled.ngram.editing.quantization import quantize
    from unrolled.ngram.model import load_ngram

    model = load_ngram(arpa, "compiling")
    write_arpa(model, folder / "b.arpa")
    quantize(model, threads=1)


def _query(arpa: Path, text: Path) -> None:
    import unrolled
    from unrolled.ngram.editing.mixing import mix, tune_weights
    from unrolled.ngram.editing.pruning import entropy_prune
    from unrolled.ngram.model import load_ngram

    model = load_ngram(arpa, "compiling")
    unrolled.predict(model, "a", 1)
    model.score("a")
    entropy_prune(model, 1e-9, threads=1)
    tune_weights([model, model], str(text), threads=1)
    mix([model, model], [0.5, 0.5], threads=1)


def _rescore() -> None:
    import numpy as np

    from unrolled.rescoring.nbest import NbestLists
    from unrolled.rescoring.rescore import tune_rescoring

    lists = NbestLists("rnnlm", ["u"], np.array([0, 2]), ["a", "b"], np.zeros(2), None)
    tune_rescoring(lists, np.array([-1.0, -2.0]), ["a"], restarts=0)


def _train(text: Path, folder: Path) -> None:
    from unrolled.ngram.counts.count_files import write_counts
    from unrolled.ngram.counts.counting import count_ngrams
    from unrolled.ngram.training import train_ngram, train_on_counts
    from unrolled.text.corpus import TextOptions, read_corpus

    train_ngram(text, order=3, threads=1)
    train_ngram(text, order=2, smoothing="katz", threads=1)
    train_ngram(text, order=2, options=TextOptions(tokens="char"), threads=1)
    corpus = read_corpus(text, threads=1)
    counts = count_ngrams(corpus.ids, 2, len(corpus.vocabulary), threads=1)
    write_counts(counts, corpus.vocabulary, folder / "counts")
    train_on_counts(folder / "counts", threads=1)


if __name__ == "__main__":
    compile_all()
