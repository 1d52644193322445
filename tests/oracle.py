"""Slow, obvious reference implementations that the fast ones are checked against."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def split_words(line: bytes) -> list[bytes]:
    """The words of a line, parted by NUL, tab, carriage return and space, as lmplz parts them."""
    for separator in (b"\0", b"\t", b"\r"):
        line = line.replace(separator, b" ")
    return [word for word in line.split(b" ") if word]


def text_lines(text: bytes) -> list[bytes]:
    """The lines of a text; what follows the last newline is a line only if it is not empty."""
    lines = text.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def encode(
    text: bytes, min_count: int = 0, max_size: int | None = None
) -> tuple[list[str], list[int], int]:
    """Words by descending count and first appearance, the ids of the text, and the words cut."""
    sentences = [split_words(line) for line in text_lines(text)]
    specials = [b"<unk>", b"<s>", b"</s>"]
    counts = Counter(word for words in sentences for word in words if word not in specials)
    kept = [word for word, count in counts.most_common() if count >= min_count][:max_size]
    ids = {word: id for id, word in enumerate(specials + kept)}
    encoded, oov = [], 0
    for words in sentences:
        encoded += [1, *(ids.get(word, 0) for word in words), 2]
        oov += sum(word not in ids for word in words)
    return [word.decode() for word in specials + kept], encoded, oov


# -- n-gram models: sentences are lists of ids, <s> first and </s> last --------------------------

Gram = tuple[int, ...]
BOS_ID, UNK_ID = 1, 0
SEEN_TWICE_OR_MORE = {1: 1, 2: 2}  # which discount a count uses; 3 for all others


def raw_counts(sentences: Sequence[Sequence[int]], order: int) -> dict[int, Counter[Gram]]:
    """How often every n-gram of 1 to ``order`` words occurs, never across sentences."""
    return {
        length: Counter(
            tuple(sentence[place : place + length])
            for sentence in sentences
            for place in range(len(sentence) - length + 1)
        )
        for length in range(1, order + 1)
    }


def adjusted_counts(raw: dict[int, Counter[Gram]], length: int) -> Counter[Gram]:
    """Raw at the highest order and after <s>, else the number of distinct words before."""
    if length == max(raw):
        return raw[length]
    before: dict[Gram, set[int]] = {}
    for gram in raw[length + 1]:
        before.setdefault(gram[1:], set()).add(gram[0])
    return Counter(
        {
            gram: count if gram[0] == BOS_ID else len(before.get(gram, ()))
            for gram, count in raw[length].items()
        }
    )


class NgramOracle:
    """Every smoothing method by recursion from its definition; probabilities, not logarithms.

    ``settings`` are those of `NgramConfig`; ``delta`` may be one for each order.
    """

    def __init__(
        self,
        sentences: Sequence[Sequence[int]],
        order: int,
        vocabulary_size: int,
        *,
        smoothing: str = "modified-kneser-ney",
        prune: Sequence[int] = (),
        discount_fallback: Sequence[float] = (0.5, 1.0, 1.5),
        closed: bool = False,
        interpolate_unigrams: bool = True,
        vocabulary_pad: int = 0,
        delta: float | Sequence[float | None] = 1.0,
        backoff: float = 0.4,
    ) -> None:
        self.order, self.smoothing = order, smoothing
        self.prune, self.fallback = list(prune) or [0], discount_fallback
        self.interpolate_unigrams, self.backoff = interpolate_unigrams, backoff
        self.deltas = [delta] * order if isinstance(delta, float | int) else list(delta)
        self.raw = raw_counts(sentences, order)
        kneser_ney = smoothing in ("modified-kneser-ney", "kneser-ney")
        self.counts = {
            length: adjusted_counts(self.raw, length) if kneser_ney else self.raw[length]
            for length in self.raw
        }
        self.children: dict[Gram, list[int]] = {}  # of each context, pruned ones too
        for grams in self.raw.values():
            for gram in grams:
                if gram != (BOS_ID,):  # never predicted
                    self.children.setdefault(gram[:-1], []).append(gram[-1])
        unknown_possible = not closed or self.raw[1][UNK_ID,] > 0
        self.predicted = [
            word
            for word in range(vocabulary_size)
            if word != BOS_ID and (word != UNK_ID or unknown_possible)
        ]
        self.uniform = 1 / max(len(self.predicted), vocabulary_pad)
        self.fallen_back: set[int] = set()
        self.discounts = {length: self._discounts(length) for length in self.raw}
        self._known: dict[tuple[Gram, int], float] = {}

    # -- discounts ----------------------------------------------------------------------------

    def _discounts(self, length: int) -> list[float]:
        """What each count of an order loses, or for Katz the share of it that it keeps."""
        n = Counter(count for gram, count in self.counts[length].items() if gram != (BOS_ID,))
        try:
            if self.smoothing == "modified-kneser-ney":
                y = n[1] / (n[1] + 2 * n[2])
                found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
                fits = all(0 <= d <= k for k, d in enumerate(found, 1))
            elif self.smoothing in ("kneser-ney", "absolute"):
                found = [n[1] / (n[1] + 2 * n[2])] * 3
                fits = n[1] > 0 and n[2] > 0
            elif self.smoothing == "katz":
                tail = 6 * n[6] / n[1]
                found = [((r + 1) * n[r + 1] / (r * n[r]) - tail) / (1 - tail) for r in range(1, 6)]
                fits = n[6] > 0 and tail < 1 and all(0 < ratio <= 1 for ratio in found)
            else:
                return [0.0, 0.0, 0.0]
        except ZeroDivisionError:
            fits = False
        if fits:
            return found
        self.fallen_back.add(length)
        if self.smoothing == "katz":
            d1, d2, d3 = self.fallback
            return [1 - d1, 1 - d2 / 2, 1 - d3 / 3]
        return list(self.fallback)

    def _discount(self, gram: Gram) -> float:
        count = self.counts[len(gram)][gram]
        return self.discounts[len(gram)][min(count, 3) - 1] if count > 0 else 0.0

    def _ratio(self, gram: Gram) -> float:
        ratios, count = self.discounts[len(gram)], self.counts[len(gram)][gram]
        return ratios[count - 1] if count <= len(ratios) else 1.0

    # -- probabilities ------------------------------------------------------------------------

    def kept(self, gram: Gram) -> bool:
        """Whether an n-gram occurs more often than its order's cut-off."""
        cutoff = self.prune[min(len(gram), len(self.prune)) - 1]
        return len(gram) == 1 or self.raw[len(gram)][gram] > cutoff

    def ngrams(self, length: int) -> set[Gram]:
        """The n-grams of an order >= 2 that a model has."""
        return {gram for gram in self.raw[length] if self.kept(gram)}

    def context(self, history: Sequence[int]) -> Gram:
        """The words of a history, from <s> at most, that a model of this order looks at."""
        words = tuple(history)
        for place in range(len(words) - 1, -1, -1):
            if words[place] == BOS_ID:
                words = words[place:]
                break
        return words[max(len(words) - self.order + 1, 0) :]

    def probability(self, word: int, history: Sequence[int]) -> float:
        """p(word | history); of stupid back-off its score."""
        return self._probability(word, self.context(history))

    def distribution(self, history: Sequence[int]) -> list[float]:
        """p of every word of the vocabulary but <s>, which is no outcome."""
        return [self.probability(word, history) for word in self.predicted]

    def length(self, word: int, history: Sequence[int]) -> int:
        """Words of the longest n-gram of the model that ends in ``word``."""
        gram = (*self.context(history), word)
        while len(gram) > 1 and not (self.raw[len(gram)][gram] and self.kept(gram)):
            gram = gram[1:]
        return len(gram)

    def _probability(self, word: int, context: Gram) -> float:
        key = context, word
        if key not in self._known:
            if self.smoothing == "katz":
                value = self._katz(word, context)
            elif self.smoothing == "stupid-backoff":
                value = self._stupid(word, context)
            elif self.smoothing == "additive":
                value = self._additive(word, context)
            else:
                value = self._interpolated(word, context)
            self._known[key] = value
        return self._known[key]

    def _lower(self, word: int, context: Gram) -> float:
        """What a context falls back on: a shorter one, or for single words the uniform."""
        if context:
            return self._probability(word, context[1:])
        if self.interpolate_unigrams or self.smoothing == "additive":
            return self.uniform if word in self.predicted else 0.0
        return float(word == UNK_ID)

    def _split(self, context: Gram) -> tuple[int, list[Gram], int]:
        """Sum of the counts after a context, its n-grams that are kept, counts of the others."""
        grams = [(*context, word) for word in self.children.get(context, ())]
        counts = self.counts[len(context) + 1]
        kept = [gram for gram in grams if self.kept(gram)]
        total = sum(counts[gram] for gram in grams)
        return total, kept, total - sum(counts[gram] for gram in kept)

    def _interpolated(self, word: int, context: Gram) -> float:
        """Kneser-Ney, absolute, maximum likelihood, and Witten-Bell, which adds a type's count."""
        total, kept, cut = self._split(context)
        types = len(kept) if self.smoothing == "witten-bell" else 0
        if total + types == 0:
            return self._lower(word, context)
        gram = (*context, word)
        reserved = cut + types + sum(self._discount(other) for other in kept)
        own = self.counts[len(gram)][gram] - self._discount(gram) if gram in kept else 0.0
        return (own + reserved * self._lower(word, context)) / (total + types)

    def _additive(self, word: int, context: Gram) -> float:
        """Lidstone's rule on whole histories; all shorter contexts are uniform."""
        whole = len(context) == self.order - 1 or context[:1] == (BOS_ID,)
        if not whole:
            return self.uniform if word in self.predicted else 0.0
        total, kept, cut = self._split(context)
        extra = (self.deltas[len(context)] or math.nan) / self.uniform
        gram = (*context, word)
        own = self.counts[len(gram)][gram] if gram in kept else 0
        lower = self._lower(word, context)
        return (own + (cut + extra) * lower) / (total + extra)

    def _stupid(self, word: int, context: Gram) -> float:
        gram = (*context, word)
        if self.raw[len(gram)][gram] and self.kept(gram):
            return self.raw[len(gram)][gram] / self._split(context)[0]
        return self.backoff * self._stupid(word, context[1:]) if context else 0.0

    def _katz(self, word: int, context: Gram) -> float:
        total, kept, _ = self._split(context)
        counts, gram = self.counts[len(context) + 1], (*context, word)
        own = {other: counts[other] * self._ratio(other) for other in kept}
        if not context:
            missing = total - sum(own.values())
            return (own.get(gram, 0.0) + missing * self._lower(word, context)) / total
        if not kept:
            return self._lower(word, context)
        if sum(own.values()) >= total * (1 - 1e-9):
            total += 1
        left = 1 - sum(own.values()) / total
        lower = 1 - sum(self._lower(other[-1], context) for other in kept)
        if len(kept) >= len(self.predicted) or lower < 1e-7:  # nothing to give the rest to
            return own.get(gram, 0.0) / sum(own.values())
        if gram in own:
            return own[gram] / total
        return left / lower * self._lower(word, context)


def log_likelihood_left_out(
    sentences: Sequence[Sequence[int]],
    order: int,
    length: int,
    delta: float,
    uniform: float,
    *,
    weight: int = 1,
) -> float:
    """Sum of log p of the words whose n-gram with their whole history has a length, each taken out
    of the text ``weight`` times before it is predicted, by Lidstone's rule over 1 / ``uniform``
    words."""
    events = [
        tuple(sentence[max(place - order + 1, 0) : place + 1])
        for sentence in sentences
        for place in range(1, len(sentence))
    ]
    total = 0.0
    for event in events:
        if len(event) == length:
            left = list(events)
            for _ in range(weight):
                left.remove(event)
            after = sum(len(other) == length and other[:-1] == event[:-1] for other in left)
            total += math.log((left.count(event) + delta) / (after + delta / uniform))
    return total
