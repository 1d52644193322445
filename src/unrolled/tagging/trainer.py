"""The training loop of taggers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError, TextError, UnrolledError
from unrolled.neural.averaging import Averager, set_parameters
from unrolled.neural.memory import keep_freed_memory
from unrolled.neural.schedules import Schedule
from unrolled.tagging.batches import Packing, ranges, shuffled
from unrolled.tagging.columns import TaggedSentence
from unrolled.tagging.config import TaggerConfig, TaggerTraining
from unrolled.tagging.features import Columns, Forms, character_ids
from unrolled.tagging.language_states import read_language_states
from unrolled.tagging.model import Tagger
from unrolled.tagging.net import TaggerNet
from unrolled.tagging.overlap import score_overlap
from unrolled.tagging.row_optimiser import RowOptimiser
from unrolled.tagging.schemes import detect_scheme
from unrolled.tagging.scores import score_spans, token_accuracy
from unrolled.tagging.tags import TagSet
from unrolled.tagging.vectors import words_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TaggerRecord:
    """One line of a learning curve; scores between 0 and 1, None without validation data."""

    epoch: int
    loss: float
    score: float | None
    metric: str
    rate: float
    tokens_per_second: float
    seconds: float

    def line(self) -> str:
        """The record as one line of text."""
        score = "" if self.score is None else f"  valid {self.metric} {100 * self.score:6.2f}"
        return (
            f"epoch {self.epoch:3d}  loss {self.loss:8.4f}{score}  rate {self.rate:.2g}  "
            f"{self.tokens_per_second:,.0f} tokens/s  {self.seconds:.0f} s"
        )


class TaggerTick(NamedTuple):
    """How far training is, told about every second."""

    epoch: int
    epochs: int
    done: float
    tokens_per_second: float
    seconds_left: float
    loss: float
    score: float | None


class _Data(NamedTuple):
    """Training sentences as numbers: words' forms, tags and columns (N,) end to end."""

    forms: Array
    tags: Array
    columns: list[Array]
    lengths: Array
    offsets: Array


class TaggerTrainer:
    """Training of one tagger.

    Args:
        train, valid: sentences with tags. threads: of torch.

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
    ) -> None:
        train = [sentence for sentence in train if sentence.words]
        _check(train, valid)
        torch.manual_seed(training.seed)
        torch.set_num_threads(threads)
        keep_freed_memory()
        self.training, self._train = training, train
        self.valid = [sentence for sentence in valid if sentence.words]
        tags = _tag_set(train, config)
        counts = Counter(word for sentence in train for word in sentence.words)
        words, config = words_of(counts, config, training)
        self.vectors_line = words.line
        language = (
            read_language_states(training.language_model) if training.language_model else None
        )
        config = replace(config, states=language.width if language is not None else 0)
        columns = _columns(train, config)
        characters = character_ids(counts) if config.characters != "none" else {}
        net = TaggerNet(
            config, characters=len(characters) + 2, columns=columns.sizes, tags=len(tags),
            allowed=tags.allowed(),
        )  # fmt: skip
        self.tagger = Tagger(
            net, words.lexicon, words.table, characters, columns, tags, language=language
        )
        self._table = torch.from_numpy(words.table.trained)
        self._forms = Forms(list(counts), words.lexicon, characters)
        self._replace = _chances(counts, self._forms.words, training.unknown)
        self._data = self._numbers(train, list(counts))
        self._weights = self._label_weights()
        self._rows = RowOptimiser(self._table, training.optimiser, training.momentum)
        self._optimiser = _optimiser(net, training)
        self._trained = _together(net, self._table)
        self._batches = math.ceil(self._data.lengths.size / training.batch)
        self._averager = Averager(self._trained, max(1.0, training.averaging * self._batches))
        if training.averaging:
            self._averager.begin()
        self._random = np.random.default_rng(training.seed)
        self.metric = _metric(training.metric, tags)
        self.curve: list[TaggerRecord] = []
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self.step = 0

    # -- data ------------------------------------------------------------------------------------

    def _numbers(self, train: Sequence[TaggedSentence], words: list[str]) -> _Data:
        number = {word: rank for rank, word in enumerate(words)}
        lengths = np.array([len(sentence.words) for sentence in train], np.int64)
        forms = np.array([number[word] for sentence in train for word in sentence.words], np.int64)
        return _Data(
            forms,
            self.tagger.tags.encode([sentence.tags for sentence in train]),
            self.tagger.column_ids(train),
            lengths,
            np.concatenate([[0], np.cumsum(lengths)]),
        )

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
        return weights

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
        loss = self._loss(scores, torch.from_numpy(data.tags[places]), packing)
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
        rows = torch.from_numpy(tagger.vectors.take(used)).requires_grad_()
        vectors = rows.index_select(0, torch.from_numpy(place))
        letters = None
        if tagger.net.characters is not None:
            letters = self._forms.letters(own, tagger.net.borders)
        known = tagger.net.tokens(vectors, self._forms.shapes[own], letters)
        return rows, known.index_select(0, torch.from_numpy(kind_of)), used

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
        own = used < len(self._table)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert rows.grad is not None
        row_gradient = rows.grad[torch.from_numpy(own)]
        if self.training.clip_norm:
            norm = float(nn.utils.get_total_norm([*gradients, row_gradient]))
            if norm > self.training.clip_norm:
                factor = self.training.clip_norm / norm
                torch._foreach_mul_([*gradients, row_gradient], factor)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._rows.step(torch.from_numpy(used[own]), row_gradient, rate)
        self._averager.add()
        self.step += 1

    # -- the end of an epoch ---------------------------------------------------------------------

    def _score(self) -> float:
        """The score of the validation data, with averages of weights if there are any."""
        tagger = self.tagger
        tagger.forget()
        tagger.net.eval()
        with self._averager.in_place():
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


def _check(train: Sequence[TaggedSentence], valid: Sequence[TaggedSentence]) -> None:
    if not train:
        raise TextError("there are no sentences to train on")
    for sentence in (*train, *valid):
        if len(sentence.tags) != len(sentence.words):
            raise TextError("the sentence has no tags", where=sentence.place or None)


def _tag_set(train: Sequence[TaggedSentence], config: TaggerConfig) -> TagSet:
    """The tags, and those within the model as the configuration wishes."""
    tags = [sentence.tags for sentence in train]
    own = detect_scheme(tags, places=[sentence.place for sentence in train])
    wanted = config.scheme
    if wanted == "auto":
        wanted = "IOBES" if config.output == "crf" else "same"
    if own == "none" or wanted == "same":
        wanted = own
    return TagSet.of(tags, wanted, output_scheme=own if wanted != "none" else "none")


def _columns(train: Sequence[TaggedSentence], config: TaggerConfig) -> Columns:
    width = min(len(sentence.columns) for sentence in train)
    for column in config.columns:
        if column >= width:
            raise SettingError(
                f"columns has {column}, and the data have {width} besides words and tags",
                hint="They are counted from 0, leaving words and tags out",
            )
    return Columns(
        [
            sorted({value for sentence in train for value in sentence.columns[column]})
            for column in config.columns
        ]
    )


def _chances(counts: Counter[str], ids: Array, unknown: float) -> Array:
    """(F,) with what probability each form is taken for the unknown word."""
    seen = np.zeros(int(ids.max(initial=0)) + 1)
    np.add.at(seen, ids, np.array(list(counts.values()), np.float64))
    result: Array = unknown / (unknown + seen[ids])
    return result


def _optimiser(net: TaggerNet, training: TaggerTraining) -> torch.optim.Optimizer:
    decay = training.weight_decay
    if training.optimiser == "adam":
        return torch.optim.AdamW(net.parameters(), lr=training.rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(
        net.parameters(), lr=training.rate, momentum=training.momentum, weight_decay=decay
    )


def _metric(wanted: str, tags: TagSet) -> str:
    if wanted == "auto":
        return "f1" if tags.has_spans else "accuracy"
    if wanted != "accuracy" and not tags.has_spans:
        raise SettingError(
            f"the metric is {wanted}, and the tags are no spans", hint="Take accuracy"
        )
    return wanted
