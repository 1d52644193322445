"""A back-off model as dictionaries of words, slow and obvious: what editing is checked against."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from unrolled import train_ngram
from unrolled.ngram.model import NgramModel

Gram = tuple[str, ...]
BOS, EOS = "<s>", "</s>"


class BackoffModel:
    """p(w|h) is the longest n-gram's probability times the back-off weights of longer contexts."""

    def __init__(self, probabilities: dict[Gram, float], backoffs: dict[Gram, float]) -> None:
        self.probabilities = probabilities
        self.backoffs = backoffs
        self.order = max(map(len, probabilities))
        self.words = [gram[0] for gram in probabilities if len(gram) == 1 and gram != (BOS,)]

    @classmethod
    def of(cls, model: NgramModel) -> BackoffModel:
        """What a model holds."""
        table = model.trie.unpack()
        probabilities, backoffs = {}, {}
        for length in range(1, model.order + 1):
            here = table.level(length)
            for node, row in enumerate(table.ngrams(length), here.start):
                gram = tuple(model.vocabulary.words(row))
                probabilities[gram] = math.exp(table.log_probs[node])
                if length < model.order:
                    backoffs[gram] = math.exp(table.backoffs[node])
        probabilities[BOS,] = 0.0
        return cls(probabilities, backoffs)

    def p(self, word: str, history: Gram) -> float:
        """Probability of a word after others, unknown ones of which are <unk>."""
        known = tuple(w if (w,) in self.probabilities else "<unk>" for w in history)
        context = known[max(len(known) - self.order + 1, 0) :]
        if (*context, word) in self.probabilities:
            return self.probabilities[(*context, word)]
        if not context:
            return 0.0
        return self.backoffs.get(context, 1.0) * self.p(word, context[1:])

    def distribution(self, history: Gram) -> np.ndarray:
        """Of all words but <s>."""
        return np.array([self.p(word, history) for word in self.words])

    def contexts(self, length: int) -> list[Gram]:
        """Contexts that have n-grams of that length."""
        return sorted({gram[:-1] for gram in self.probabilities if len(gram) == length})

    def children(self, context: Gram) -> list[Gram]:
        """N-grams with that context."""
        size = len(context) + 1
        return [g for g in self.probabilities if len(g) == size and g[:-1] == context]

    def renew(self, context: Gram) -> None:
        """Give the context the back-off weight that makes it sum to one."""
        children = self.children(context)
        left = 1 - sum(self.probabilities[gram] for gram in children)
        lower = 1 - sum(self.p(gram[-1], context[1:]) for gram in children)
        if children and lower > 1e-7:
            self.backoffs[context] = left / lower
        elif not children:
            self.backoffs[context] = 1.0

    def without(self, grams: set[Gram]) -> BackoffModel:
        """The model less some n-grams, their contexts summing to one again."""
        rest = {gram: p for gram, p in self.probabilities.items() if gram not in grams}
        result = BackoffModel(rest, dict(self.backoffs))
        result.order = self.order
        for context in sorted({gram[:-1] for gram in grams}, key=len):
            result.renew(context)
        return result

    def chain(self, context: Gram) -> float:
        """p(context) by the chain rule, </s> for <s> at its beginning."""
        first = EOS if context[0] == BOS else context[0]
        return self.probabilities[(first,)] * math.prod(
            self.p(context[place], context[:place]) for place in range(1, len(context))
        )


def relative_entropy(model: BackoffModel, gram: Gram, history: float) -> float:
    """Between the model and that without one n-gram, over the whole vocabulary, times p(h)."""
    context = gram[:-1]
    before, after = model.distribution(context), model.without({gram}).distribution(context)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(before > 0, before * (np.log(before) - np.log(after)), 0)
    return history * float(terms.sum())


def closure(grams: set[Gram]) -> set[Gram]:
    """With all contexts and suffixes of two words and more."""
    return {
        gram[low:high]
        for gram in grams
        for low, high in itertools.combinations(range(len(gram) + 1), 2)
        if high - low > 1
    }


def worst_sum(model: NgramModel) -> float:
    """How far from one the distributions of all contexts of a model sum, at most."""
    return max(
        abs(float(np.exp(model.next_log_probs(state), dtype=np.float64).sum()) - 1)
        for state in states(model)
    )


def states(model: NgramModel) -> Iterator[object]:
    """The state after each n-gram of a model, after nothing, and after words in an unseen order."""
    table = model.trie.unpack()
    rows = [row for length in range(1, model.order) for row in table.ngrams(length).tolist()]
    rows += [[], [3] * model.order, [0, 3, 0, 3]]
    for row in rows:
        state = model.start(bos=False)
        for word in row:
            state = model.advance(state, word)
        yield state


def ngrams(model: NgramModel) -> set[Gram]:
    """All n-grams of two words and more."""
    return {gram for gram in BackoffModel.of(model).probabilities if len(gram) > 1}


def sentences(seed: int, count: int = 40, words: int = 9) -> list[str]:
    """Some text with habits: each word is often followed by one of two others."""
    random = np.random.default_rng(seed)
    names = [f"w{number}" for number in range(words)]
    text = []
    for _ in range(count):
        line, last = [], int(random.integers(words))
        for _ in range(int(random.integers(1, 9))):
            line.append(names[last])
            habit = random.random() < 0.7
            last = (2 * last + int(random.integers(2))) % words if habit else int(
                random.integers(words)
            )  # fmt: skip
        text.append(" ".join(line))
    return text


@functools.cache
def small_model(
    seed: int = 0, order: int = 3, smoothing: str = "witten-bell", words: int = 9
) -> NgramModel:
    """A model of `sentences`."""
    return train_ngram(texts=sentences(seed, words=words), order=order, smoothing=smoothing)
