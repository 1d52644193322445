"""`Tagger`: what all taggers do, from words or text to tags and spans."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from unrolled.errors import MissingExtraError, SettingError, TextError

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError:
    raise MissingExtraError("neural", "torch") from None

from unrolled.runtime.torch_threads import run_torch_ahead
from unrolled.storage.loading import StoredModel, load_as
from unrolled.tagging.data.batches import Packing, by_length, ranges
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.tags import OUTSIDE, TagSet
from unrolled.tagging.net.crf import LinearChainCRF
from unrolled.tagging.scoring.results import Found, Tagged, results_of
from unrolled.tagging.scoring.scores import SpanScores, score_spans
from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]

# What is tagged at a time, by one thread: of few sentences, a step has few rows.
BATCH_TOKENS = 1024
BATCH_SENTENCES = 16
MOST_TOKENS = 4096


class Tagger(StoredModel):
    """Scores the tags of each word, and finds the best ones: a net, or a mixture of taggers.

    Attributes:
        tags: the tags.
        crf: scores sequences of them; None: each tag is chosen alone.
    """

    kind_name = "a tagger"
    is_tagger: ClassVar[bool] = True
    vocabulary: Vocabulary
    tags: TagSet
    crf: LinearChainCRF | None

    @abstractmethod
    def to(self, device: str | torch.device) -> Tagger:
        """Move it to a device; returns the tagger itself.

        Args:
            device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.

        Raises:
            SettingError: another name, or no GPU.
        """

    @abstractmethod
    def word_features(self, sentences: Sequence[TaggedSentence]) -> Any:
        """What `tag_scores` needs of words, whatever sentences they are in."""

    @abstractmethod
    def tag_scores(
        self, sentences: Sequence[TaggedSentence], features: Any, packing: Packing
    ) -> Tensor:
        """Scores (N, K) of the tags of sentences, none empty, which lie end to end.

        Args:
            features: what `word_features` gave for them. packing: how they lie.
        """

    # -- tagging ---------------------------------------------------------------------------------

    def tag(
        self,
        inputs: Iterable[str | Sequence[str] | TaggedSentence],
        *,
        confidences: bool = True,
    ) -> list[Tagged]:
        """Tag sentences.

        Args:
            inputs: each a text, which is cut into words, or the words of a sentence, or a
                `TaggedSentence`, whose tags are ignored; a sentence without words has no tags.
            confidences: also give probabilities, which takes a little longer.

        Raises:
            SettingError: one text instead of a list of them.
            TextError: a sentence lacks columns that the tagger needs.
        """
        if isinstance(inputs, (str, TaggedSentence)):
            raise SettingError("tag takes a list of sentences, and got one", hint="Put it in [ ]")
        sentences, texts = _as_sentences(inputs)
        found = self.find(sentences, confidences=confidences)
        return results_of(sentences, texts, found, self.tags, confidences)

    def predict(self, sentences: Sequence[Sequence[str] | TaggedSentence]) -> list[list[str]]:
        """The tags of each sentence, given by its words or as for `tag`."""
        found = self.find(_as_sentences(sentences)[0])
        return self.tags.decode(found.ids, found.offsets)

    def probabilities(self, sentences: Sequence[Sequence[str] | TaggedSentence]) -> list[Array]:
        """(T, K) float64 of each sentence: the probability of each of `tags.output_names`.

        Under a CRF they are marginals; where the tagger's own tags are finer than those of the
        data, such as S and B of IOBES than B of BIO, they are added up.
        """
        given = _as_sentences(sentences)[0]
        names = self.tags.output_names
        of_tag = [names.index(name) for name in self.tags.output_of_each]
        found = [np.zeros((0, len(names)))] * len(given)
        for batch, own, packing in self._scored(given, self._tag_probabilities):
            summed = np.zeros((len(own), len(names)))
            np.add.at(summed.T, of_tag, own.T)
            for rank, number in enumerate(batch.tolist()):
                found[number] = summed[packing.offsets[rank] : packing.offsets[rank + 1]]
        return found

    def _tag_probabilities(self, scores: Tensor, packing: Packing) -> Array:
        """(N, K) float64 of the tagger's own tags."""
        if self.crf is None:
            found: Array = scores.double().softmax(1).cpu().numpy()
        else:
            found = self.crf.marginals(scores, packing.offsets)[0].numpy()
        return found

    def n_best(
        self, words: Sequence[str] | TaggedSentence, count: int
    ) -> list[tuple[float, list[str]]]:
        """The likeliest tag sequences of one sentence with their probabilities, best first.

        Raises:
            SettingError: the tagger has no CRF, or the count is below 1.
        """
        if self.crf is None:
            raise SettingError("only a tagger with a CRF has n best sequences")
        if count < 1:
            raise SettingError(f"count is {count}, allowed are 1 and more")
        (sentence,), _ = _as_sentences([words])
        if not sentence.words:
            return [(1.0, [])]
        (_, scores, packing) = next(self._scored([sentence]))
        few = self.crf.n_best(scores, count)
        return [
            (float(np.exp(log_prob)), self.tags.decode(ids, packing.offsets)[0])
            for ids, log_prob in zip(few.tags, few.log_probs, strict=True)
        ]

    def evaluate(self, sentences: Sequence[TaggedSentence]) -> SpanScores:
        """Exact scores, as conlleval counts them, of tagging sentences that have tags.

        Tags of another scheme or notation than the tagger's are compared by the spans they mean.

        Raises:
            TextError: a sentence without tags.
        """
        for sentence in sentences:
            if len(sentence.tags) != len(sentence.words):
                raise TextError("the sentence has no tags", where=sentence.place or None)
        found = self.find(sentences)
        predicted = self.tags.decode(found.ids, found.offsets)
        scheme = None if self.tags.has_spans else "none"
        return score_spans([sentence.tags for sentence in sentences], predicted, scheme=scheme)

    def find(self, sentences: Sequence[TaggedSentence], *, confidences: bool = False) -> Found:
        """Tag numbers of sentences, in batches of like lengths."""
        lengths = np.array([len(sentence.words) for sentence in sentences], np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        size = int(offsets[-1])
        ids = np.full(size, OUTSIDE, np.int64)
        rest = [np.full(size if confidences else 0, np.nan) for _ in range(3)]
        finish = partial(self._decoded, confidences=confidences)
        for batch, (own, *others), packing in self._scored(sentences, finish):
            places = ranges(offsets[batch], packing.lengths)
            ids[places] = own
            for array, values in zip(rest, others, strict=False):
                array[places] = values
        return Found(ids, offsets, *rest)

    def _scored(
        self,
        sentences: Sequence[TaggedSentence],
        finish: Callable[[Tensor, Packing], Any] = lambda scores, packing: scores,
    ) -> Iterator[tuple[Array, Any, Packing]]:
        """Batches: which sentences, scores (N, K) of their tags, and how they lie.

        Args:
            finish: what is to be given in place of the scores.
        """
        lengths = np.array([len(sentence.words) for sentence in sentences], np.int64)
        batches = list(
            by_length(lengths, BATCH_TOKENS, fewest=BATCH_SENTENCES, most_tokens=MOST_TOKENS)
        )

        def read(batch: Array) -> tuple[Array, list[TaggedSentence], Any]:
            chosen = [sentences[number] for number in batch.tolist()]
            return batch, chosen, self.word_features(chosen)

        @torch.no_grad()
        def score(given: tuple[Array, list[TaggedSentence], Any]) -> tuple[Array, Any, Packing]:
            batch, chosen, features = given
            packing = Packing(lengths[batch])
            return batch, finish(self.tag_scores(chosen, features, packing), packing), packing

        # Which new words are computed together depends on no thread.
        return run_torch_ahead(score, map(read, batches), len(batches))

    def _decoded(self, scores: Tensor, packing: Packing, confidences: bool) -> list[Array]:
        """Tag numbers and, with confidences, the other arrays of `Found`."""
        crf, offsets = self.crf, packing.offsets
        if crf is None:
            probabilities = scores.double().softmax(1).cpu().numpy() if confidences else None
            ids = scores.argmax(1).cpu().numpy()
            if probabilities is None:
                return [ids]
            own = probabilities[np.arange(ids.size), ids]
            after = np.zeros_like(own)
            carried = self.tags.continuations()[ids]
            inner = _inner(offsets, ids.size) & (carried[:-1] >= 0)
            places = np.flatnonzero(inner)
            after[places] = probabilities[places + 1, carried[places]]
            return [ids, own, np.log(own), np.log1p(-after)]
        ids = crf.decode(scores, offsets)
        if not confidences:
            return [ids]
        return [ids, *self._chain(scores, offsets, ids)]

    def _chain(self, scores: Tensor, offsets: Array, ids: Array) -> tuple[Array, Array, Array]:
        """Marginals, log p of each tag given the one before, and log p that a span ends there."""
        crf = self.crf
        assert crf is not None
        marginals, betas = (part.numpy() for part in crf.marginals(scores, offsets))
        transitions = crf.scores()[0].detach().cpu().double().numpy()
        every = np.arange(ids.size)
        onward = scores.cpu().double().numpy() + betas
        own, beta = onward[every, ids], betas[every, ids]
        chain, closed = np.zeros(ids.size), np.zeros(ids.size)
        inner = np.flatnonzero(_inner(offsets, ids.size))
        chain[inner + 1] = transitions[ids[inner], ids[inner + 1]] + own[inner + 1] - beta[inner]
        carried = self.tags.continuations()[ids]
        inner = inner[carried[inner] >= 0]
        tag = carried[inner]
        log_on = transitions[ids[inner], tag] + onward[inner + 1, tag] - beta[inner]
        closed[inner] = np.log1p(-np.exp(np.minimum(log_on, -1e-12)))
        return np.minimum(marginals[every, ids], 1.0), chain, closed

    # -- storage ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tagger:
        """The tagger of a file.

        Raises:
            FormatError: the file cannot be read or is damaged. SettingError: another kind of model.
        """
        return load_as(path, cls, "tagging")


def _as_sentences(
    inputs: Iterable[str | Sequence[str] | TaggedSentence],
) -> tuple[list[TaggedSentence], list[tuple[tuple[int, int], ...]]]:
    """Sentences, and where their words lie in the texts."""
    sentences, places = [], []
    for given in inputs:
        where: tuple[tuple[int, int], ...] = ()
        if isinstance(given, TaggedSentence):
            sentence = given
        elif isinstance(given, str):
            from unrolled.text.tokeniser import tokenise

            tokens = tokenise(given)
            where = tuple((token.start, token.end) for token in tokens)
            sentence = TaggedSentence(tuple(token.text for token in tokens), ())
        else:
            sentence = TaggedSentence(tuple(given), ())
        sentences.append(sentence)
        places.append(where)
    return sentences, places


def _inner(offsets: Array, size: int) -> Array:
    """(N - 1,) whether a word and the next one are of one sentence."""
    inner = np.ones(max(size - 1, 0), bool)
    borders = offsets[1:-1]
    inner[borders[(borders > 0) & (borders < size)] - 1] = False
    return inner
