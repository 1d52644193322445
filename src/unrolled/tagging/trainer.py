"""The training loop of taggers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError, UnrolledError
from unrolled.runtime.memory import keep_freed_memory
from unrolled.tagging.config import TaggerConfig, TaggerTraining
from unrolled.tagging.data.batches import Packing, ranges, shuffled
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.features import Forms, character_ids
from unrolled.tagging.model import Tagger
from unrolled.tagging.net.language_states import read_language_states
from unrolled.tagging.net.network import TaggerNet
from unrolled.tagging.net.trained_vectors import TrainedVectors
from unrolled.tagging.net.vectors import words_of
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
from unrolled.training.averaging import Averager, set_parameters
from unrolled.training.curve import TaggerRecord, TaggerTick
from unrolled.training.devices import CPU
from unrolled.training.fused_adam import FusedAdamW
from unrolled.training.schedules import Schedule

Array = np.ndarray[Any, Any]


class TaggerTrainer:
    """Training of one tagger.

    Args:
        train, valid: sentences with tags. threads: of torch. device: where the net computes, in
            training and after it.

    Raises:
        TextError: no sentence, or one without tags. SettingError: a weight for a tag that is not
            there, or a column that the data lack.
    """

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
        torch.manual_seed(training.seed)
        torch.set_num_threads(threads)
        keep_freed_memory()
        self.training, self._train, self._device = training, train, device
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
        net = TaggerNet(
            config, characters=len(characters) + 2, columns=columns.sizes, tags=len(tags),
            allowed=tags.allowed(),
        )  # fmt: skip
        self.tagger = Tagger(
            net, words.lexicon, words.table, characters, columns, tags, language=language
        ).to(device)
        self._vectors = TrainedVectors(words.table, training, device)
        self._forms = Forms(list(counts), words.lexicon, characters)
        self._replace = unknown_chances(counts, self._forms.words, training.word_dropout)
        self._data = TrainingData.of(train, self.tagger, list(counts))
        self._weights = self._label_weights()
        self._optimiser = _optimiser(net, training)
        self._trained = _together(net, self._vectors.table)
        self._batches = math.ceil(self._data.lengths.size / training.batch)
        self._averager = Averager(self._trained, max(1.0, training.averaging * self._batches))
        if training.averaging:
            self._averager.begin()
        self._random = np.random.default_rng(training.seed)
        self.metric = metric_of(training.metric, tags)
        self.curve: list[TaggerRecord] = []
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self.step = 0

    def _label_weights(self) -> Tensor | None:
        given = self.training.label_weights
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

    # -- the loop --------------------------------------------------------------------------------

    def run(
        self,
        *,
        report: Callable[[str], None] | None = None,
        tick: Callable[[TaggerTick], None] | None = None,
    ) -> Tagger:
        """Train to the end, and return the tagger with the best parameters.

        Raises:
            UnrolledError: the loss is no longer a number.
        """
        say = report or (lambda line: None)
        stale = 0
        for epoch in range(self.training.epochs):
            record = self._run_epoch(epoch, tick)
            self.curve.append(record)
            say(record.line())
            if record.score is not None:
                better = self._best is None or record.score > self._best[0]
                stale = 0 if better else stale + 1
                if better:
                    self._best = record.score, self._averager.values()
                if self.training.patience and stale >= self.training.patience:
                    say(f"no better score for {stale} epochs: stopping")
                    break
        return self._finished()

    def _run_epoch(self, epoch: int, tick: Callable[[TaggerTick], None] | None) -> TaggerRecord:
        training, data, net = self.training, self._data, self.tagger.net
        net.train()
        began = told = time.monotonic()
        batches = self._batches
        total, tokens, sentences = 0.0, 0, 0
        rate = training.rate
        for number, batch in enumerate(shuffled(data.lengths, training.batch, self._random)):
            rate = training.rate * self._rate(epoch * batches + number, epoch)
            loss = self._train_batch(batch, rate, epoch)
            total += loss * batch.size
            tokens += int(data.lengths[batch].sum())
            sentences += batch.size
            now = time.monotonic()
            if tick is not None and now - told > 1:
                told = now
                done = (epoch + (number + 1) / batches) / training.epochs
                speed = tokens / (now - began)
                left = (1 - done) * training.epochs * data.forms.size / speed
                score = self.curve[-1].score if self.curve else None
                tick(
                    TaggerTick(
                        epoch + 1, training.epochs, done, speed, left, total / sentences, score
                    )
                )
        seconds = time.monotonic() - began
        score = self._score() if self.valid else None
        return TaggerRecord(
            epoch + 1, total / sentences, score, self.metric, rate, tokens / seconds,
            time.monotonic() - began,
        )  # fmt: skip

    def _rate(self, step: int, epoch: int) -> float:
        """Factor of the first rate."""
        training = self.training
        kind = "constant" if training.schedule == "decay" else training.schedule
        factor = Schedule(kind, training.epochs * self._batches, training.warmup).rate(step)
        return factor / (1 + training.decay * epoch) if training.schedule == "decay" else factor

    def _train_batch(self, batch: Array, rate: float, epoch: int) -> float:
        """One step; the loss."""
        data, net = self._data, self.tagger.net
        packing = Packing(data.lengths[batch])
        places = ranges(data.offsets[batch], packing.lengths)
        rows, tokens, used = self._tokens(data.forms[places])
        columns = [column[places] for column in data.columns]
        states = self.tagger.states([self._train[number] for number in batch.tolist()])
        scores = net(tokens, columns, packing, states)
        loss = self._loss(scores, self._there(data.tags[places]), packing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UnrolledError(
                f"the loss is {value} at step {self.step + 1} of epoch {epoch + 1}",
                hint="Try a lower --rate or a smaller --clip-norm",
            )
        loss.backward()
        self._update(rows, used, rate)
        return value

    def _tokens(self, forms: Array) -> tuple[Tensor, Tensor, Array]:
        """Word vectors that are used (U, E), what is known of the words (N, D), and the ids (U,).

        Words may be replaced by the unknown one; what is the same is computed once.
        """
        unknown = self._random.random(forms.size) < self._replace[forms]
        kinds, kind_of = np.unique(2 * forms + unknown, return_inverse=True)
        own = kinds // 2
        ids = np.where(kinds % 2 == 1, 0, self._forms.words[own])
        used, place = np.unique(ids, return_inverse=True)
        tagger = self.tagger
        rows = self._vectors.take(used).requires_grad_()
        vectors = rows.index_select(0, self._there(place))
        letters = None
        if tagger.net.characters is not None:
            letters = self._forms.letters(own, tagger.net.borders)
        known = tagger.net.tokens(vectors, self._forms.shapes[own], letters)
        return rows, known.index_select(0, self._there(kind_of)), used

    def _there(self, array: Array) -> Tensor:
        """Numbers where the net is."""
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

    def _update(self, rows: Tensor, used: Array, rate: float) -> None:
        parameters = list(self.tagger.net.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert rows.grad is not None
        row_gradient = rows.grad[self._vectors.trained(used)]
        if self.training.clip_norm:
            norm = float(nn.utils.get_total_norm([*gradients, row_gradient]))
            if norm > self.training.clip_norm:
                factor = self.training.clip_norm / norm
                torch._foreach_mul_([*gradients, row_gradient], factor)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._vectors.step(used, row_gradient, rate)
        self._averager.add()
        self.step += 1

    # -- the end of an epoch ---------------------------------------------------------------------

    def _score(self) -> float:
        """The score of the validation data, with averages of weights if there are any."""
        tagger = self.tagger
        tagger.forget()
        tagger.net.eval()
        with self._averager.in_place():
            self._vectors.give_back()
            found = tagger.find(self.valid)
        predicted = tagger.tags.decode(found.ids, found.offsets)
        gold = [sentence.tags for sentence in self.valid]
        if self.metric == "accuracy":
            return token_accuracy(gold, predicted)
        if self.metric == "proportional":
            return score_overlap(gold, predicted).proportional_f1
        return score_spans(gold, predicted).f1

    def _finished(self) -> Tagger:
        tagger = self.tagger
        set_parameters(self._trained, self._best[1] if self._best else self._averager.values())
        self._vectors.give_back()
        tagger.forget()
        tagger.net.eval()
        training = asdict(self.training)
        tagger.settings = {
            "training": training,
            "curve": [asdict(record) for record in self.curve],
        }
        return tagger


def _together(net: TaggerNet, table: Tensor) -> nn.Module:
    """All that is trained as one module; the table of word vectors keeps its memory."""
    both = nn.ModuleDict({"net": net})
    both.register_parameter("vectors", nn.Parameter(table, requires_grad=False))
    return both


def _optimiser(net: TaggerNet, training: TaggerTraining) -> torch.optim.Optimizer | FusedAdamW:
    decay = training.weight_decay
    if training.optimiser == "adam":
        return FusedAdamW(net.parameters(), lr=training.rate, weight_decay=decay)
    return torch.optim.SGD(
        net.parameters(), lr=training.rate, momentum=training.momentum, weight_decay=decay
    )
