"""Perplexity of a text under any language model."""

from __future__ import annotations

import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.language_models.sentences import line_slices
from unrolled.language_models.unknown_words import (
    AS_A_CLASS,
    Unknown,
    UnknownWords,
    unknown_words,
)
from unrolled.runtime.threads import run_ahead
from unrolled.text.vocabulary import UNK
from unrolled.version import __version__

if TYPE_CHECKING:
    from unrolled.text.blocks import Block
    from unrolled.text.options import TextOptions
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]

CHUNK_BYTES = 1 << 20  # of text scored at a time: few, so that all threads end at about one time
MANY_UNKNOWN = 0.2  # share of unknown words above which text and model may not fit
FEW_WORDS = 50  # that are too few to judge by

Lines = tuple[memoryview, Callable[[int], str]]  # whole lines, and the place of each by number


def shown_perplexity(value: float, digits: int = 2) -> str:
    """A perplexity as text; that of a net whose states explode has hundreds of digits.

    >>> shown_perplexity(98.234), shown_perplexity(1e304), shown_perplexity(math.inf)
    ('98.23', '1e+304', 'inf')
    """
    return f"{value:.{digits}f}" if value < 1e9 or value == math.inf else f"{value:.3g}"


@dataclass(frozen=True)
class Perplexity:
    """Sufficient statistics of an evaluation: sums, so that parts of a text add up.

    ``tokens`` counts words and </s>, ``oov`` the words among them that the model does not know.
    ``known_log_prob`` is the log-probability of all others, ``oov_log_prob`` that of the unknown,
    apart because it may be -inf.
    """

    known_log_prob: float
    tokens: int
    sentences: int
    oov: int
    oov_log_prob: float
    vocabulary: int
    name: str
    unknown: UnknownWords = AS_A_CLASS

    @property
    def log_prob(self) -> float:
        """Log-probability of all tokens, unknown ones as `unknown` says."""
        if self.unknown.skipped:
            return self.known_log_prob
        return self.known_log_prob + self.oov_log_prob - self.oov * self.unknown.cost

    @property
    def perplexity_without_oov(self) -> float:
        """Perplexity of the known tokens alone, KenLM's "perplexity excluding OOVs"."""
        return replace(self, unknown=UnknownWords("skip")).perplexity

    @property
    def cross_entropy(self) -> float:
        """- mean log-probability of a token, in nats; <s> is never predicted."""
        return self._mean(self.tokens)

    @property
    def perplexity(self) -> float:
        """exp(cross-entropy)."""
        return _exp(self.cross_entropy)

    @property
    def ppl1(self) -> float:
        """Perplexity per word: </s> counts in the log-probability, not in the number of tokens.

        This is the ppl1 of SRILM.
        """
        return _exp(self._mean(self.tokens - self.sentences))

    @property
    def bits_per_token(self) -> float:
        """Cross-entropy in bits a token."""
        return self.cross_entropy / math.log(2)

    def _mean(self, tokens: int) -> float:
        """- log-probability a token, of so many tokens; unknown ones are left out if asked."""
        tokens -= self.oov if self.unknown.skipped else 0
        return -self.log_prob / tokens if tokens > 0 else math.inf

    def line(self) -> str:
        """One line that says how the number was measured.

        >>> Perplexity(-6.0, 5, 1, 1, -4.0, 10, "additive-1").line()
        'ppl 7.39 | 5 tokens | vocab 10 | oov 1 as <unk> | eos counted | additive-1 | unrolled 0.1'
        """
        treated = f" {self.unknown}" if self.oov else ""
        version = ".".join(__version__.split(".")[:2])
        shown = shown_perplexity(self.perplexity)
        return (
            f"ppl {shown} | {self.tokens} tokens | vocab {self.vocabulary} | "
            f"oov {self.oov}{treated} | eos counted | {self.name} | unrolled {version}"
        )

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for JSON: infinite ones are None, and ``infinite`` says if there is one."""
        values = {
            "perplexity": self.perplexity,
            "perplexity_without_oov": self.perplexity_without_oov,
            "ppl1": self.ppl1,
            "bits_per_token": self.bits_per_token,
            "log_prob": self.log_prob,
            **asdict(self),
            "unknown": self.unknown.reading,
            "unknown_types": self.unknown.types,
        }
        infinite = [name for name, value in values.items() if value in (math.inf, -math.inf)]
        return {**values, **dict.fromkeys(infinite), "infinite": bool(infinite)}


def _exp(entropy: float) -> float:
    return math.exp(min(entropy, 700.0)) if entropy < math.inf else math.inf


def evaluate(
    model: LanguageModel,
    sources: Sources | None = None,
    *,
    texts: Iterable[str] | None = None,
    options: TextOptions | None = None,
    threads: int = 2,
    unknown: Unknown = "class",
    progress: Callable[[int], None] | None = None,
) -> Perplexity:
    """Perplexity of a text.

    Args:
        sources: files, folders or "-" for standard input.
        texts: sentences instead of sources.
        options: how to read them; by default as the model's training text was read.
        threads: that may be used, for reading and scoring.
        unknown: what an unknown word costs: ``class``, the probability of <unk>; ``skip``, nothing
            and it is not counted; or each is one of so many words, a number, or ``each`` for as
            many as became <unk> in training; see `unknown_words`.
        progress: called with the tokens scored since the last call.

    Raises:
        TextError: text that cannot be read, or an empty one. NotNormalisedError: stupid back-off.
        FormatError: a score that no model could give. SettingError: both sources and texts.

    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
    >>> evaluate(model, texts=["the cat sat", "the cat"]).line()
    'ppl 2.08 | 7 tokens | vocab 5 | oov 0 | eos counted | witten-bell-2 | unrolled 0.1'
    """
    require_normalised(model, "perplexity")
    reading = unknown_words(unknown, model)
    options = options or model.text_options
    blocks = _blocks(sources, texts, options)
    size = sys.maxsize if model.carries_context else CHUNK_BYTES
    chunks = (chunk for block in blocks for chunk in _chunks(block, size))
    with model.use_threads(threads) as at_once:
        task = _scoring(model, options.specials, progress)
        # In this thread, Ctrl-C ends the work between two batches of a long text.
        results = map(task, chunks) if at_once == 1 else run_ahead(task, chunks, at_once)
        totals = sum(results, np.zeros(5))
    known_log_prob, tokens, sentences, oov, oov_log_prob = totals.tolist()
    if sentences == 0:
        raise TextError("the text is empty: it has no perplexity")
    result = Perplexity(
        known_log_prob,
        int(tokens),
        int(sentences),
        int(oov),
        oov_log_prob,
        len(model.vocabulary) - 1,
        model.name,
        reading,
    )
    _warn_of_unknown_words(result, model, options)
    return result


def _scoring(
    model: LanguageModel, specials: str, progress: Callable[[int], None] | None
) -> Callable[[Lines], Array]:
    """A task that scores lines: log-probability, tokens, sentences, OOVs, their log-probability."""
    lock = threading.Lock()

    def report(tokens: int) -> None:
        if progress is not None:
            with lock:
                progress(tokens)

    scorer = model.text_scorer(report)

    def task(lines: Lines) -> Array:
        encoded = model.vocabulary.encode_block(lines[0], specials=specials, place=lines[1])
        scores = model.checked(scorer(encoded.ids))
        oov_log_prob = 0.0
        if encoded.oov:
            unknown = encoded.ids == UNK
            oov_log_prob = float(scores[unknown].sum(dtype=np.float64))
            scores = np.where(unknown, 0, scores)
        known_log_prob = float(scores.sum(dtype=np.float64))
        tokens = encoded.ids.size - encoded.sentences
        return np.array([known_log_prob, tokens, encoded.sentences, encoded.oov, oov_log_prob])

    return task


def _blocks(
    sources: Sources | None, texts: Iterable[str] | None, options: TextOptions
) -> Iterator[Block]:
    from unrolled.text.sources import text_blocks
    from unrolled.text.tokens import cut_blocks, read_blocks

    if (sources is None) == (texts is None):
        raise SettingError("evaluate takes either sources or texts")
    if sources is not None:
        return read_blocks(sources, options)
    return cut_blocks(text_blocks(texts or ()), options)


def _chunks(block: Block, size: int) -> Iterator[Lines]:
    """Lines of a block, of about that many bytes in all, with their places."""
    data = block.data
    for start, stop in line_slices(data, size):

        def place(line: int, start: int = start) -> str:
            return block.place(data.count(b"\n", 0, start) + line)

        yield memoryview(data)[start:stop], place


def _warn_of_unknown_words(result: Perplexity, model: LanguageModel, options: TextOptions) -> None:
    words = result.tokens - result.sentences
    if words < FEW_WORDS or result.oov <= MANY_UNKNOWN * words:
        return
    warnings.warn(
        f"{100 * result.oov / words:.0f} % of the words are unknown to {model.name}: "
        f"{_likely_reason(model, options)}",
        UnrolledWarning,
        stacklevel=3,
    )


def _likely_reason(model: LanguageModel, options: TextOptions) -> str:
    """Why many words of a text are unknown, judged by the vocabulary's frequent words."""
    from itertools import islice

    known = [word for word in islice(model.vocabulary, 3, 2000) if word.isascii() or len(word) > 1]
    trained = model.text_options.tokens
    if options.tokens != trained:
        return f"its text was split with --tokens {trained}, and this with {options.tokens}"
    if options.tokens == "word":
        if sum(word.startswith("\u2581") for word in known) > len(known) / 5:
            return "its words are SentencePiece pieces, so name their model with --tokens"
        if known and all(len(word) == 1 for word in known):
            return "its words are single characters, so the text may need --tokens char"
    if not options.lower and not any(word != word.lower() for word in known):
        return "it knows lower-case words only, so the text may need --lower"
    return "the text may be of another language or subject, or be split into words in another way"
