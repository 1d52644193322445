"""A neural language model and its text, as the training loop sees them.

A batch is ``bptt`` steps of many contiguous parts of the text. The state is carried from batch to
batch, and one backward pass accumulates the gradients of all time steps (truncated backpropagation
through time).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError, TextError
from unrolled.neural.cells import State
from unrolled.neural.config import CELLS, NetConfig, TrainingConfig
from unrolled.neural.max_ent import SparseAdagrad
from unrolled.neural.model import NeuralModel
from unrolled.neural.net import Net, build_net
from unrolled.neural.streams import Batch, by_sentence, contiguous_batches, steps_of
from unrolled.text.corpus import Corpus
from unrolled.text.options import TextOptions
from unrolled.text.vocabulary import BOS, UNK
from unrolled.text.word_classes import word_classes
from unrolled.text.word_vectors import read_word_vectors
from unrolled.training.devices import uses_bfloat16
from unrolled.training.distributed import Group
from unrolled.training.optimisers import Groups
from unrolled.training.records import PERPLEXITY, EpochRecord
from unrolled.training.task import BatchLoss, Task, prepare


class LanguageModelTask(Task):
    """A net that is trained on a text.

    Args:
        corpus: the text. valid: held-out text with the same vocabulary.
        group: the processes that train together; each has a task with the same texts.

    Raises:
        TextError: a text is empty. SettingError: settings that contradict each other.
        UnrolledError: the processes have different texts.
    """

    kind, metric, lower_is_better = "net", PERPLEXITY, True
    config: TrainingConfig

    def __init__(
        self,
        corpus: Corpus,
        valid: Corpus | None,
        net_config: NetConfig,
        config: TrainingConfig,
        *,
        options: TextOptions | None = None,
        threads: int = 2,
        group: Group | None = None,
    ) -> None:
        if corpus.tokens == 0:
            raise TextError("the text is empty: there is nothing to train on")
        if valid is not None and valid.tokens == 0:
            raise TextError("the validation text is empty")
        self.group = group or Group()
        self.device = self.group.device
        if net_config.maxent_size and self.device.type != "cpu":
            raise SettingError(
                "n-gram features beside a net (maxent_size) are trained on CPUs only",
                hint="Use --device cpu, or leave maxent_size out",
            )
        self.config, self.net_config = config, net_config
        self.accumulate = config.accumulate
        # Other outputs, and the layer of a feed-forward net, are products of large matrices.
        self.slices_work = net_config.output_layer == "classes" and net_config.cell in CELLS
        self.corpus, self.valid, self.options = corpus, valid, options or TextOptions()
        prepare(config.seed, threads)
        self.module = self.net = self._new_net()
        self.vectors_line = self._load_vectors() if config.vectors else ""
        self.net.to(self.device)
        self.mixed = uses_bfloat16(config.precision, self.device)
        max_ent = self.net.output.max_ent
        self.max_ent = None if max_ent is None else SparseAdagrad(max_ent)
        self._tokens = 0  # since the last update
        for name, checksum in self._checksums().items():
            self.group.require_equal(int(checksum, 16), f"text to {name}")
        if not self.group.first:
            torch.manual_seed(config.seed + (self.group.rank << 32))  # dropout of its own
        self.steps = steps_of(corpus.ids)
        # Plain backpropagation takes many steps at a time too, for speed.
        self._length = config.bptt if config.bptt > 1 else 35
        self.tokens_per_epoch = corpus.tokens
        self.batches_per_epoch = self._batches_per_epoch()
        self.state: State = ()

    def _new_net(self) -> Net:
        config, corpus = self.net_config, self.corpus
        class_of = None
        if config.output_layer == "classes":
            counts, by = corpus.word_counts, config.classes_by
            class_of = word_classes(counts, config.classes, by=by, ids=corpus.ids)
        net = build_net(config, len(corpus.vocabulary), class_of)
        counts = corpus.word_counts.copy()
        counts[BOS] = 0
        net.output.init_unigram_bias(counts)
        return net

    def _load_vectors(self) -> str:
        """Set word vectors to those of a file; a line that says how many words have one."""
        vectors, frozen = self.net.vectors, self.config.freeze_vectors
        if frozen and any(weight is vectors for weight in self.net.output.parameters()):
            raise SettingError(
                "the vectors cannot be frozen, for they are the output's too, which are trained",
                hint="Give the output its own with tied=false",
            )
        read = read_word_vectors(self.config.vectors, self.corpus.vocabulary, seed=self.config.seed)
        if read.width != vectors.shape[1]:
            raise SettingError(
                f"the vectors have {read.width} numbers and the net's have {vectors.shape[1]}",
                where=self.config.vectors,
                hint=f"Give the net that width with embedding={read.width}",
            )
        with torch.no_grad():
            vectors.copy_(torch.from_numpy(read.vectors))
        vectors.requires_grad_(not frozen)
        return read.line()

    def groups(self) -> Groups:
        """Recurrent weights are a group of their own."""
        parts: tuple[list[nn.Parameter], ...] = ([], [])
        for name, parameter in self.net.named_parameters():
            parts[name.endswith(".state_weight")].append(parameter)
        return list(zip(parts, (1.0, self.config.recurrent_lr_scale), strict=True))

    # -- batches and their gradients -------------------------------------------------------------

    def _batches_per_epoch(self) -> int:
        size: int = self.steps.inputs.size
        batch = self.config.batch
        if self.net_config.reset_state_per_sentence:
            return -(-self.corpus.sentences // batch)
        return math.ceil(math.ceil(size / max(min(batch, size), 1)) / self._length)

    def batches(self, epoch: int) -> Iterator[Batch]:
        config = self.config
        random = np.random.default_rng([config.seed, epoch])
        if self.net_config.reset_state_per_sentence:
            return by_sentence(self.steps, config.batch, self._length, random)
        # A random offset each epoch, so that gradients are truncated at other places.
        first = int(random.integers(self.steps.inputs.size)) if epoch > 0 else 0
        return contiguous_batches(self.steps, config.batch, self._length, first)

    def backward(self, batch: Batch) -> BatchLoss:
        share = batch.columns(self.group.share(batch.steps.shape[1]))
        if batch.fresh:
            self.state = self.net.begin(share.inputs.shape[1])
        tokens = int(np.count_nonzero(batch.steps >= 0))
        self._tokens += tokens
        if not np.any(share.steps >= 0):  # a text's last batch may have nothing for this process
            return BatchLoss(0.0, 0, tokens)
        loss, state, count = self.loss(share)
        part = count / (tokens * self.config.accumulate)
        (loss if part == 1 else loss * part).backward()
        self.state = tuple(part.detach() for part in state)
        return BatchLoss(float(loss.detach()), count, tokens)

    def loss(self, batch: Batch) -> tuple[Tensor, State, int]:
        """Mean of -log p over the batch's tokens, the state after it, and how many they are."""
        words = torch.from_numpy(batch.inputs).to(self.device)
        targets = torch.from_numpy(batch.targets).to(self.device).flatten()
        h, state = self._outputs(words)
        h = h.flatten(0, 1)
        count = int(np.count_nonzero(batch.steps >= 0))
        if count < targets.numel():
            real = targets >= 0
            h, targets = h[real], targets[real]
        # The kernels of CPUs know no bfloat16; on GPUs the logarithms are in float32 too.
        with self._autocast() if self.device.type == "cuda" else nullcontext():
            return self.net.output.loss(h, targets), state, count

    def _outputs(self, words: Tensor) -> tuple[Tensor, State]:
        """Outputs (T, B, E) after words (T, B) from the present state."""
        depth = 1 if self.config.bptt == 1 else None
        if not self.mixed:
            found: tuple[Tensor, State] = self.net(words, self.state, depth=depth)
            return found
        with self._autocast():
            h, state = self.net(words, self.state, depth=depth)
        return h.float(), tuple(p.float() if p.is_floating_point() else p for p in state)

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def step_rows(self, factor: float) -> None:
        if self.max_ent is not None:
            self.max_ent.step(self.config.maxent_lr * factor, self._tokens, self.group)
        self._tokens = 0

    def forget_gradients(self) -> None:
        self._tokens = 0
        if self.max_ent is not None:
            self.max_ent.forget()

    # -- scores, the model, and saving -----------------------------------------------------------

    def score(self) -> float | None:
        """Perplexity of the validation text, as the first process finds it."""
        if self.valid is None:
            return None
        if not self.group.first:
            return self.group.broadcast_from_rank0(0.0)
        scores = self.model([]).text_log_probs(self.valid.ids)
        entropy = -float(scores.sum(dtype=np.float64)) / self.valid.tokens
        return self.group.broadcast_from_rank0(math.exp(min(entropy, 700)))

    def model(self, curve: Sequence[EpochRecord]) -> NeuralModel:
        """The model with the present parameters."""
        provenance = {
            "text": {
                "tokens": self.corpus.tokens,
                "sentences": self.corpus.sentences,
                "unknown": int(self.corpus.word_counts[UNK]),
                "unknown_types": self.corpus.unknown_types,
            },
            "training": {
                "settings": asdict(self.config),
                "vectors": self.vectors_line,
                "curve": [record.json() for record in curve],
            },
        }
        settings = {"text": self.options.stored()}
        return NeuralModel(self.net, self.corpus.vocabulary, settings, provenance)

    def _checksums(self) -> dict[str, str]:
        """CRC-32 of the ids of both texts."""
        texts = {"train": self.corpus, "valid": self.valid}
        return {
            name: f"{zlib.crc32(np.ascontiguousarray(text.ids).tobytes()):08x}"
            for name, text in texts.items()
            if text is not None
        }

    def identity(self) -> dict[str, dict[str, Any]]:
        return {
            "net": asdict(self.net_config),
            "training": asdict(self.config),
            "text": self._checksums(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The state of all texts of the batch, and sums of squares of n-gram features."""
        parts = {
            f"state.{number}": torch.cat(self.group.all_rows(part))
            for number, part in enumerate(self.state)
        }
        return parts if self.max_ent is None else {**parts, "squares": self.max_ent.squares}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        if self.max_ent is not None:
            self.max_ent.squares.copy_(tensors["squares"])
        names = sorted((n for n in tensors if n.startswith("state.")), key=lambda n: int(n[6:]))
        parts = [tensors[name] for name in names]
        self.state = tuple(part[self.group.share(len(part))].to(self.device) for part in parts)
