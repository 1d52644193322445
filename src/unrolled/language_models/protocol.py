"""The protocol that all language models share, and everything that is written once on top of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from unrolled.errors import FormatError, NotNormalisedError, SettingError
from unrolled.runtime.threads import run_ahead, run_slices
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary
from unrolled.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.text.corpus import Block, TextOptions
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]
State = Any

PIECE_BYTES = 1 << 20  # of text scored at a time: so few that threads end together
ROUNDING = 0.01  # what sums of float32 may lift the logarithm of a sure thing above 0
_SPACES = {ord(mark): " " for mark in "\0\t\r\n"}


class LanguageModel(Protocol):
    """What a model must offer; natural logarithms throughout."""

    @property
    def name(self) -> str:
        """Short name for tables, such as ``modified-kneser-ney-5``."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The words, and their ids."""

    @property
    def normalised(self) -> bool:
        """Whether scores are logarithms of probabilities."""

    @property
    def text_options(self) -> TextOptions:
        """How the training text was cut into tokens; other text is cut alike."""

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,), sentences as <s> words </s>; 0 at <s>."""

    def start(self) -> State:
        """The state after <s>."""

    def advance(self, state: State, word: int) -> State:
        """The state after one more word; the given one stays as it is."""

    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next one, (V,) float32; <s> has none."""


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
    skip_oov: bool = False

    @property
    def log_prob(self) -> float:
        """Log-probability of all tokens."""
        return self.known_log_prob + self.oov_log_prob

    @property
    def cross_entropy(self) -> float:
        """- mean log-probability of a token, in nats; <s> is never predicted."""
        log_prob, tokens = self.log_prob, self.tokens
        if self.skip_oov:
            log_prob, tokens = self.known_log_prob, tokens - self.oov
        return -log_prob / tokens if tokens > 0 else math.inf

    @property
    def perplexity(self) -> float:
        """exp(cross-entropy)."""
        entropy = self.cross_entropy
        return math.exp(min(entropy, 700.0)) if entropy < math.inf else math.inf

    @property
    def bits_per_token(self) -> float:
        """Cross-entropy in bits a token."""
        return self.cross_entropy / math.log(2)

    def line(self) -> str:
        """One line that says how the number came about.

        >>> Perplexity(-6.0, 5, 1, 1, -4.0, 10, "additive-1").line()
        'ppl 7.39 | 5 tokens | vocab 10 | oov 1 as <unk> | eos counted | additive-1 | unrolled 0.1'
        """
        treated = "" if self.oov == 0 else " skipped" if self.skip_oov else " as <unk>"
        version = ".".join(__version__.split(".")[:2])
        return (
            f"ppl {self.perplexity:.2f} | {self.tokens} tokens | vocab {self.vocabulary} | "
            f"oov {self.oov}{treated} | eos counted | {self.name} | unrolled {version}"
        )


def require_normalised(model: LanguageModel, what: str) -> None:
    """Refuse models whose scores are no probabilities.

    Raises:
        NotNormalisedError: the model is stupid back-off.
    """
    if not model.normalised:
        raise NotNormalisedError(
            f"{what} needs probabilities and the scores of {model.name} do not sum to one",
            hint="Use another smoothing, or only compare scores with `score` and `rank`",
        )


def require_log_probs(values: Array) -> None:
    """Refuse what only a damaged model file gives.

    Raises:
        FormatError: NaN, or a value above 0 by more than rounding.
    """
    if not np.all(values <= ROUNDING):
        raise FormatError(
            "the model gives log-probabilities that are NaN or above 0: its file is damaged"
        )


def running_log_probs(model: LanguageModel, ids: Array) -> Array:
    """Log-probability of each of ids (T,) of one text, whose sentences follow each other.

    A model that learns from the sentences before offers ``text_log_probs`` beside ``log_probs``,
    which takes each sentence by itself; for others both are the same.
    """
    scores: Array = getattr(model, "text_log_probs", model.log_probs)(ids)
    return scores


def evaluate(
    model: LanguageModel,
    sources: Sources,
    *,
    options: TextOptions | None = None,
    threads: int = 2,
    skip_oov: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Perplexity:
    """Perplexity of a text.

    Args:
        sources: files, folders or "-" for standard input.
        options: how to read them; by default as the model's training text was read.
        threads: blocks of text scored side by side.
        skip_oov: leave unknown words out of the mean; otherwise they count with the probability
            of <unk>.
        progress: called with the tokens scored since the last call.

    Raises:
        TextError: text that cannot be read. NotNormalisedError: stupid back-off.
        FormatError: the model's numbers are no log-probabilities.
    """
    require_normalised(model, "perplexity")
    from unrolled.text.corpus import read_blocks

    given = options or model.text_options

    def part(
        piece: tuple[memoryview, Callable[[int], str]],
    ) -> tuple[float, int, int, int, float]:
        lines, place = piece
        encoded = model.vocabulary.encode_block(lines, specials=given.specials, place=place)
        scores = running_log_probs(model, encoded.ids)
        require_log_probs(scores)
        oov_log_prob = 0.0
        if encoded.oov:
            unknown = encoded.ids == UNK
            oov_log_prob = float(scores[unknown].sum(dtype=np.float64))
            scores = np.where(unknown, 0, scores)
        known_log_prob = float(scores.sum(dtype=np.float64))
        tokens = encoded.ids.size - encoded.sentences
        return known_log_prob, tokens, encoded.sentences, encoded.oov, oov_log_prob

    # A model that learns from what it reads gets whole blocks.
    size = sys.maxsize if hasattr(model, "text_log_probs") else PIECE_BYTES
    pieces = (piece for block in read_blocks(sources, given) for piece in _pieces(block, size))
    totals = np.zeros(5)
    for result in run_ahead(part, pieces, threads):
        totals += result
        if progress is not None:
            progress(int(result[1]))
    known_log_prob, tokens, sentences, oov, oov_log_prob = totals.tolist()
    return Perplexity(
        known_log_prob,
        int(tokens),
        int(sentences),
        int(oov),
        oov_log_prob,
        len(model.vocabulary) - 1,
        model.name,
        skip_oov,
    )


def _pieces(block: Block, size: int) -> Iterator[tuple[memoryview, Callable[[int], str]]]:
    """Lines of a block, of about that many bytes in all, with what tells their places."""
    data = block.data
    for start, stop in _line_slices(data, size):

        def place(line: int, start: int = start) -> str:
            return block.place(data.count(b"\n", 0, start) + line)

        yield memoryview(data)[start:stop], place


def _line_slices(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Where slices of whole lines begin and end, of that many bytes or a little more."""
    start = 0
    while start < len(data):
        stop = data.find(b"\n", min(start + size, len(data)) - 1) + 1 or len(data)
        yield start, stop
        start = stop


def encode_sentences(
    vocabulary: Vocabulary, sentences: Sequence[str], options: TextOptions, threads: int = 1
) -> Array:
    """Ids of many sentences, each as <s> words </s>, (T,) int32; a newline in one is a space.

    Raises:
        SettingError: one text instead of a list of them.
    """
    from unrolled.text.corpus import tokenise

    if isinstance(sentences, str):
        raise SettingError("sentences is one text", hint="Give a list of them, or use score")
    if not sentences:
        return np.zeros(0, np.int32)
    text = "\n".join([*sentences, ""])
    if text.count("\n") != len(sentences):
        text = "\n".join([*(sentence.replace("\n", " ") for sentence in sentences), ""])
    data = tokenise(text, options)

    def ids_of(start: int, stop: int) -> Array:
        ids: Array = vocabulary.encode_block(memoryview(data)[start:stop], specials="keep").ids
        return ids

    parts = run_slices(ids_of, _line_slices(data, -(-len(data) // threads)), threads)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def sentence_starts(
    vocabulary: Vocabulary, sentences: Sequence[str], options: TextOptions, ids: Array
) -> Array:
    """Where each sentence of ``encode_sentences`` begins in ``ids``, and T; (N + 1,) int64."""
    starts = np.flatnonzero(ids == BOS)
    if starts.size != len(sentences):  # some text holds a literal <s>
        sizes = np.array([encode_sentences(vocabulary, [text], options).size for text in sentences])
        starts = np.cumsum(sizes) - sizes
    return np.append(starts, ids.size)


def words_of(sentence: str, options: TextOptions) -> list[str]:
    """The tokens of one sentence; a newline in it is a space."""
    from unrolled.text.corpus import tokenise

    text = (
        tokenise(sentence.replace("\n", " "), options).decode(errors="replace").translate(_SPACES)
    )
    return [word for word in text.split(" ") if word]


def text_of(words: Sequence[str], options: TextOptions) -> str:
    """Tokens put together as people write them."""
    if options.tokens == "word":
        return " ".join(words)
    if options.tokens == "byte":
        raw = (bytes([int(word[3:5], 16)]) if len(word) == 6 else word.encode() for word in words)
        words = [b"".join(raw).decode(errors="replace")]
    return "".join(words).replace("\u2581", " ").strip()


@dataclass(frozen=True)
class Surprisal:
    """One predicted token: its word, its sentence's number, and its log-probability."""

    sentence: int
    word: str
    log_prob: float
    oov: bool

    @property
    def bits(self) -> float:
        """Surprisal, -log2 p."""
        return -self.log_prob / math.log(2)


def surprisals(model: LanguageModel, sentences: Iterable[str]) -> Iterator[Surprisal]:
    """Every token's log-probability with its word as written, </s> included."""
    for number, sentence in enumerate(sentences):
        words = words_of(sentence, model.text_options)
        ids = np.concatenate([[BOS], model.vocabulary.ids(words), [EOS]]).astype(np.int32)
        scores = model.log_probs(ids)
        for word, word_id, score in zip([*words, "</s>"], ids[1:], scores[1:], strict=True):
            yield Surprisal(number, word, float(score), bool(word_id == UNK))


def score_sentences(model: LanguageModel, sentences: Sequence[str], *, eos: bool = True) -> Array:
    """Log-probability of each sentence, (N,) float64; of stupid back-off a score."""
    encoded: Array = encode_sentences(model.vocabulary, sentences, model.text_options)
    scores = model.log_probs(encoded).astype(np.float64)
    starts = sentence_starts(model.vocabulary, sentences, model.text_options, encoded)
    if starts.size == 1:
        return np.zeros(0)
    if not eos:
        scores[starts[1:] - 1] = 0
    sums: Array = np.add.reduceat(scores, starts[:-1], dtype=np.float64)
    return sums


def rank(model: LanguageModel, sentences: Sequence[str]) -> list[tuple[float, str]]:
    """Sentences by falling log-probability: which word order, which word, is likelier.

    The lecture's example: p(the cat is small) > p(small the is cat).
    """
    scores = score_sentences(model, sentences)
    places = np.argsort(-scores, kind="stable")
    return [(float(scores[place]), sentences[place]) for place in places]


def predict(model: LanguageModel, context: str, count: int = 10) -> list[tuple[str, float]]:
    """The likeliest next words after the words of ``context`` (from <s>), with probabilities.

    Words that are impossible there are left out, so there may be fewer than ``count``.

    Raises:
        SettingError: a count below 1. NotNormalisedError: stupid back-off.
    """
    require_normalised(model, "predict")
    if count < 1:
        raise SettingError(f"count {count} must be at least 1")
    state = model.start()
    for word in model.vocabulary.ids(words_of(context, model.text_options)):
        state = model.advance(state, int(word))
    log_probs = model.next_log_probs(state)
    best = np.argsort(-log_probs, kind="stable")[:count]
    best = best[log_probs[best] > -np.inf]
    return [(model.vocabulary.word(int(word)), math.exp(log_probs[word])) for word in best]


def generate(
    model: LanguageModel,
    *,
    context: str = "",
    max_words: int = 50,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int | None = None,
) -> str:
    """Draw a sentence word by word until </s>; <unk> is never drawn.

    Args:
        context: words to go on from. max_words: stop after so many new ones.
        temperature: log-probabilities are divided by it; towards 0 the likeliest word wins.
        top_k: draw among the likeliest so many only.
        seed: the same seed gives the same sentence.

    Raises:
        SettingError: a temperature that is not above 0 and finite, a top_k below 1, or a
            seed below 0.
        NotNormalisedError: stupid back-off.
    """
    require_normalised(model, "generate")
    if not 0 < temperature < math.inf:
        raise SettingError(f"temperature {temperature} must be above 0 and finite")
    if top_k is not None and top_k < 1:
        raise SettingError(f"top_k {top_k} must be at least 1")
    if seed is not None and seed < 0:
        raise SettingError(f"seed is {seed}, allowed are 0 and more")
    random = np.random.default_rng(seed)
    state = model.start()
    words = words_of(context, model.text_options)
    for word in model.vocabulary.ids(words):
        state = model.advance(state, int(word))
    for _ in range(max_words):
        word = _draw(model.next_log_probs(state), temperature, top_k, random)
        if word == EOS:
            break
        words.append(model.vocabulary.word(word))
        state = model.advance(state, word)
    return text_of(words, model.text_options)


def _draw(
    log_probs: Array, temperature: float, top_k: int | None, random: np.random.Generator
) -> int:
    weights = log_probs.astype(np.float64)
    weights[UNK] = -np.inf
    if top_k is not None and top_k < weights.size:
        weights[np.argsort(-weights, kind="stable")[top_k:]] = -np.inf
    top = weights.max()
    if top == -np.inf:
        return EOS  # nothing is possible here: maximum likelihood in an unseen context
    with np.errstate(over="ignore"):  # a tiny temperature makes all but the best impossible
        probabilities = np.exp((weights - top) / temperature)
    return int(random.choice(weights.size, p=probabilities / probabilities.sum()))
