"""A tagger and its sentences, as the training loop sees them."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.tagging.config import TaggerConfig, TaggerTraining
from unrolled.tagging.data.batches import Packing, shuffled
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.features import Forms, character_ids
from unrolled.tagging.net.language_states import read_language_states
from unrolled.tagging.net.network import TaggerNet
from unrolled.tagging.net.vectors import TrainedVectors, words_of
from unrolled.tagging.neural_tagger import NeuralTagger
from unrolled.tagging.scoring.overlap import score_overlap
from unrolled.tagging.scoring.scores import score_spans, token_accuracy
from unrolled.tagging.training_data import (
    TrainingData,
    check_tagged,
    columns_of,
    metric_of,
    tag_set,
    unknown_chances,
)
from unrolled.training.devices import CPU
from unrolled.training.optimisers import Groups
from unrolled.training.records import EpochRecord
from unrolled.training.task import BatchLoss, Task, prepare

Array = np.ndarray[Any, Any]


class TaggerTask(Task):
    """A tagger that is trained on sentences.

    Args:
        train, valid: sentences with tags. threads: of torch. device: where the net computes, in
            training and after it.

    Raises:
        TextError: no sentence, or one without tags. SettingError: a weight for a tag that is not
            there, or a column that the data lack.
    """

    kind, slices_work = "tagger", True
    config: TaggerTraining

    def __init__(
        self,
        train: Sequence[TaggedSentence],
        valid: Sequence[TaggedSentence],
        config: TaggerConfig,
        training: TaggerTraining,
        *,
        threads: int = 2,
        device: torch.device = CPU,
    ) -> None:
        train = [sentence for sentence in train if sentence.words]
        check_tagged(train, valid)
        self.config, self._train, self._device = training, train, device
        self.valid = [sentence for sentence in valid if sentence.words]
        tags = tag_set(train, config)
        counts = Counter(word for sentence in train for word in sentence.words)
        words, config = words_of(counts, config, training)
        self.vectors_line = words.line
        language = (
            read_language_states(training.language_model) if training.language_model else None
        )
        config = replace(config, language_model_dim=language.width if language is not None else 0)
        columns = columns_of(train, config)
        characters = character_ids(counts) if config.characters != "none" else {}
        prepare(training.seed, threads)
        net = TaggerNet(
            config, characters=len(characters) + 2, columns=columns.sizes, tags=len(tags),
            allowed=tags.allowed(),
        )  # fmt: skip
        self.tagger = NeuralTagger(
            net, words.lexicon, words.table, characters, columns, tags, language=language
        ).to(device)
        self._vectors = TrainedVectors(words.table, training, device)
        self._forms = Forms(list(counts), words.lexicon, characters)
        self._replace = unknown_chances(counts, self._forms.words, training.word_dropout)
        self._data = TrainingData.of(train, self.tagger, list(counts))
        self._weights = self._label_weights()
        self.module = _together(net, self._vectors.table)
        self.batches_per_epoch = math.ceil(self._data.lengths.size / training.batch)
        self.tokens_per_epoch = self._data.forms.size
        self._random, self._drawn = np.random.default_rng(training.seed), 0
        self.metric = metric_of(training.metric, tags)

    def _label_weights(self) -> Tensor | None:
        given = self.config.label_weights
        if not given:
            return None
        names = self.tagger.tags.names
        weights = torch.ones(len(names))
        for tag, weight in given.items():
            if tag not in names:
                raise SettingError(
                    f"there is a weight for the tag '{tag}', and the tags are {', '.join(names)}"
                )
            weights[names.index(tag)] = weight
        return weights.to(self._device)

    # -- batches and their gradients -------------------------------------------------------------

    def batches(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """Numbers of sentences (B,), and which of their words (N,) count as unknown.

        All epochs draw from one sequence of random numbers: those before this one are drawn again
        where training resumes.
        """
        if epoch < self._drawn:
            self._random, self._drawn = np.random.default_rng(self.config.seed), 0
        while self._drawn < epoch:
            for _ in self._draw_epoch():
                pass
        return self._draw_epoch()

    def _draw_epoch(self) -> Iterator[tuple[Array, Array]]:
        self._drawn += 1
        for batch in shuffled(self._data.lengths, self.config.batch, self._random):
            yield batch, self.draw_unknown(batch)

    def draw_unknown(self, numbers: Array) -> Array:
        """Which words (N,) of sentences (B,) count as unknown this time."""
        forms = self._data.forms[self._data.places(numbers)]
        unknown: Array = self._random.random(forms.size) < self._replace[forms]
        return unknown

    def backward(self, batch: tuple[Array, Array]) -> BatchLoss:
        data, net = self._data, self.tagger.net
        numbers, unknown = batch
        packing = Packing(data.lengths[numbers])
        places = data.places(numbers)
        tokens = self._tokens(data.forms[places], unknown)
        columns = [column[places] for column in data.columns]
        states = self.tagger.states([self._train[number] for number in numbers.tolist()])
        scores = net(tokens, columns, packing, states)
        loss = self._loss(scores, self._to_device(data.tags[places]), packing)
        loss.backward()
        assert self._rows.grad is not None
        self._row_gradient = self._rows.grad[self._vectors.trained(self._used)]
        return BatchLoss(float(loss.detach()), numbers.size, places.size)

    def _tokens(self, forms: Array, unknown: Array) -> Tensor:
        """Features of the words (N, D); those of equal words are computed once.

        Word vectors that are used stay in ``_rows`` (U, E), and their ids in ``_used`` (U,).
        """
        kinds, kind_of = np.unique(2 * forms + unknown, return_inverse=True)
        own = kinds // 2
        ids = np.where(kinds % 2 == 1, 0, self._forms.words[own])
        self._used, place = np.unique(ids, return_inverse=True)
        tagger = self.tagger
        self._rows = self._vectors.take(self._used).requires_grad_()
        vectors = self._rows.index_select(0, self._to_device(place))
        letters = None
        if tagger.net.characters is not None:
            letters = self._forms.letters(own, tagger.net.borders)
        known = tagger.net.tokens(vectors, self._forms.shapes[own], letters)
        return known.index_select(0, self._to_device(kind_of))

    def _to_device(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _loss(self, scores: Tensor, tags: Tensor, packing: Packing) -> Tensor:
        """Mean over sentences under a CRF, else over words."""
        crf = self.tagger.net.crf
        if crf is not None:
            return -crf.log_likelihood(scores, packing.offsets, tags).mean()
        losses = nn.functional.cross_entropy(scores, tags, reduction="none")
        if self._weights is not None:
            losses = losses * self._weights[tags]
        return losses.mean()

    def groups(self) -> Groups:
        return [(list(self.tagger.net.parameters()), 1.0)]

    def row_gradients(self) -> list[Tensor]:
        return [self._row_gradient]

    def step_rows(self, factor: float) -> None:
        self._vectors.step(self._used, self._row_gradient, self.config.rate * factor)

    # -- scores, the tagger, and saving ----------------------------------------------------------

    def score(self) -> float | None:
        if not self.valid:
            return None
        tagger = self._current_tagger()
        found = tagger.find(self.valid)
        predicted = tagger.tags.decode(found.ids, found.offsets)
        gold = [sentence.tags for sentence in self.valid]
        if self.metric == "accuracy":
            return token_accuracy(gold, predicted)
        if self.metric == "proportional":
            return score_overlap(gold, predicted).proportional_f1
        return score_spans(gold, predicted).f1

    def _current_tagger(self) -> NeuralTagger:
        """The tagger with the present parameters."""
        self.tagger.forget()
        self.tagger.net.eval()
        self._vectors.copy_to_host()
        return self.tagger

    def finished(self, curve: Sequence[EpochRecord]) -> NeuralTagger:
        """The tagger with the present parameters, and how it was trained."""
        tagger = self._current_tagger()
        tagger.settings = {
            "training": asdict(self.config),
            "curve": [record.json() for record in curve],
        }
        return tagger

    def identity(self) -> dict[str, dict[str, Any]]:
        data = {"train": self._train, "valid": self.valid}
        return {
            "tagger": asdict(self.tagger.config),
            "training": asdict(self.config),
            "data": {name: _checksum(sentences) for name, sentences in data.items()},
        }

    def tensors(self) -> dict[str, Tensor]:
        return self._vectors.optimiser.state()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self._vectors.optimiser.load_state(tensors)


def _together(net: TaggerNet, table: Tensor) -> nn.Module:
    """All that is trained as one module; the table of word vectors stays in its memory."""
    both = nn.ModuleDict({"net": net})
    both.register_parameter("vectors", nn.Parameter(table, requires_grad=False))
    return both


def _checksum(sentences: Sequence[TaggedSentence]) -> str:
    """CRC-32 of words, tags and columns."""
    crc = 0
    for sentence in sentences:
        crc = zlib.crc32(repr((sentence.words, sentence.tags, sentence.columns)).encode(), crc)
    return f"{crc:08x}"
