"""The one training loop: truncated backpropagation through time over a text.

Many stretches of the text run side by side; each batch is ``bptt`` steps of all of them, the state
is carried from batch to batch, and one backward pass accumulates the errors of all time steps.
"""

from __future__ import annotations

import copy
import math
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError, TextError, UnrolledError
from unrolled.neural.cells import State
from unrolled.neural.config import EpochRecord, NetConfig, Tick, TrainingConfig
from unrolled.neural.max_ent import SparseAdagrad
from unrolled.neural.model import NeuralModel
from unrolled.neural.net import Net, build_net
from unrolled.neural.optimisers import optimiser_of
from unrolled.neural.streams import Batch, by_sentence, contiguous_batches, steps_of
from unrolled.runtime.memory import keep_freed_memory
from unrolled.text.corpus import Corpus, TextOptions
from unrolled.text.vocabulary import BOS, UNK
from unrolled.text.word_classes import word_classes
from unrolled.text.word_vectors import start_at_vectors
from unrolled.training.averaging import Averager, set_parameters
from unrolled.training.checkpoints import resume_from, write_checkpoint
from unrolled.training.distributed import Group
from unrolled.training.epoch_totals import EpochTotals
from unrolled.training.schedules import Schedule

if TYPE_CHECKING:
    from unrolled.gradients.monitor import GradientMonitor

Array = np.ndarray[Any, Any]


class Trainer:
    """Training as an object that can be saved in the middle: a net, its optimiser, its place.

    Args:
        corpus: the text. valid: held-out text with the same vocabulary.
        group: the processes that train together; each has a trainer with the same texts.

    Raises:
        TextError: fewer than two tokens, or nothing to validate on.
        UnrolledError: the processes have different texts.
    """

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
        torch.manual_seed(config.seed)
        torch.set_num_threads(threads)
        keep_freed_memory()
        self.config, self.net_config = config, net_config
        self.corpus, self.valid, self.options = corpus, valid, options or TextOptions()
        class_of = None
        if net_config.output_layer == "classes":
            class_of = word_classes(
                corpus.word_counts,
                net_config.classes,
                by=net_config.classes_by,
                ids=corpus.ids,
            )
        self.net = build_net(net_config, len(corpus.vocabulary), class_of)
        counts = corpus.word_counts.copy()
        counts[BOS] = 0
        self.net.output.init_unigram_bias(counts)
        self.vectors_line = self._take_vectors() if config.vectors else ""
        self.net.output.threads = threads
        self.group = group or Group()
        self.device = self.group.device
        if net_config.maxent_size and self.device.type != "cpu":
            raise SettingError(
                "n-gram features beside a net (maxent_size) are trained on CPUs only",
                hint="Set CUDA_VISIBLE_DEVICES to nothing, or leave maxent_size out",
            )
        self.net.to(self.device)
        self.mixed = lower_precision(config.precision, self.device)
        max_ent = self.net.output.max_ent
        self.direct = None if max_ent is None else SparseAdagrad(max_ent)
        self._tokens = 0  # since the last step
        for name, checksum in self.checksums().items():
            self.group.require_equal(int(checksum, 16), f"text to {name}")
        if not self.group.first:
            torch.manual_seed(config.seed + (self.group.rank << 32))  # dropout of its own
        self.steps = steps_of(corpus.ids)
        self.optimiser = optimiser_of(self.net, config)
        self.schedule = Schedule(
            config.schedule,
            config.epochs * self._batches_in_epoch(),
            warmup=config.warmup,
            patience=config.patience,
        )
        self.epoch, self.position, self.step = 0, 0, 0
        self.state: State = ()
        self.totals = EpochTotals()
        self.curve: list[EpochRecord] = []
        self.best: dict[str, Tensor] | None = None
        self.averager = Averager(self.net)
        self.monitor: GradientMonitor | None = None  # is told of every update
        self._saved = time.monotonic()
        self._save_due = False
        self._path: Path | None = None
        self._minutes = math.inf

    def _take_vectors(self) -> str:
        """Begin with word vectors from a file; a line that says how many words have one."""
        vectors, frozen = self.net.vectors, self.config.freeze_vectors
        if frozen and any(weight is vectors for weight in self.net.output.parameters()):
            raise SettingError(
                "the vectors cannot be frozen, for they are the output's too, which are trained",
                hint="Give the output its own with --no-tied",
            )
        words, seed = self.corpus.vocabulary, self.config.seed
        return start_at_vectors(
            vectors, self.config.vectors, words, frozen=frozen, seed=seed
        ).line()

    # -- the loop --------------------------------------------------------------------------------

    def run(
        self,
        *,
        report: Callable[[str], None] | None = None,
        tick: Callable[[Tick], None] | None = None,
    ) -> NeuralModel:
        """Train to the end, and return the model with the best parameters."""
        say = report or (lambda line: None)
        going = self.epoch < self.config.epochs
        while going:
            self._run_epoch(tick)
            record = self._end_epoch()
            say(record.line())
            entropy = math.log(record.valid_perplexity or record.train_perplexity)
            going = self.schedule.epoch_ended(entropy) and self.epoch < self.config.epochs
            self._save()
        if self.monitor is not None:
            self.monitor.close()  # so that the model is no longer watched
        return self.model()

    def _run_epoch(self, tick: Callable[[Tick], None] | None) -> None:
        self.net.train()
        told = began = time.monotonic()
        tokens = 0
        before = self.totals.seconds
        for number, batch in enumerate(self._batches()):
            if number < self.position:
                continue
            tokens += self._train_batch(batch)
            self.position = number + 1
            now = time.monotonic()
            self.totals.seconds = before + now - began
            if tick is not None and now - told > 1:
                told = now
                tick(self._tick(tokens / (now - began)))
            if self._save_due:
                self._save()

    def _batches_in_epoch(self) -> int:
        size, batch = self.steps.inputs.size, self.config.batch
        if self.net_config.reset_state_per_sentence:
            return -(-self.corpus.sentences // batch)
        return math.ceil(math.ceil(size / max(min(batch, size), 1)) / self._length)

    @property
    def _length(self) -> int:
        """Steps of a batch; plain backpropagation too takes many at a time, for speed."""
        return self.config.bptt if self.config.bptt > 1 else 35

    def _batches(self) -> Iterator[Batch]:
        config = self.config
        random = np.random.default_rng([config.seed, self.epoch])
        if self.net_config.reset_state_per_sentence:
            return by_sentence(self.steps, config.batch, self._length, random)
        # Every pass cuts the text elsewhere, so that errors are cut off elsewhere too.
        first = int(random.integers(self.steps.inputs.size)) if self.epoch > 0 else 0
        return contiguous_batches(self.steps, config.batch, self._length, first)

    def _train_batch(self, batch: Batch) -> int:
        """One forward and backward pass, and a step of the optimiser when it is due."""
        share = batch.columns(self.group.share(batch.steps.shape[1]))
        if batch.fresh:
            self.state = self.net.begin(share.inputs.shape[1])
        tokens = int(np.count_nonzero(batch.steps >= 0))
        self._tokens += tokens
        if np.any(share.steps >= 0):  # a text's last batch may have nothing for this process
            loss, self.state, count = self._loss(share)
            part = count / (tokens * self.config.accumulate)
            (loss if part == 1 else loss * part).backward()
            self.state = tuple(part.detach() for part in self.state)
            self.totals.loss += count * self._checked(loss)
            self.totals.tokens += count
        if (self.position + 1) % self.config.accumulate == 0:
            self._update()
        return tokens

    def _loss(self, batch: Batch) -> tuple[Tensor, State, int]:
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
        """What the net gives for words (T, B) from the present state."""
        depth = 1 if self.config.bptt == 1 else None
        if not self.mixed:
            found: tuple[Tensor, State] = self.net(words, self.state, depth=depth)
            return found
        with self._autocast():
            h, state = self.net(words, self.state, depth=depth)
        return h.float(), tuple(p.float() if p.is_floating_point() else p for p in state)

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def _checked(self, loss: Tensor) -> float:
        value = float(loss.detach())
        if not math.isfinite(value):
            norm = _norm(self.net)
            raise UnrolledError(
                f"the loss is {value} at step {self.step} of epoch {self.epoch + 1}, with a "
                f"gradient norm of {norm:.3g}",
                hint="Try a lower --rate, a smaller --clip-norm, or another cell",
            )
        return value

    def _update(self) -> None:
        config = self.config
        late = self.group.first and time.monotonic() - self._saved > 60 * self._minutes
        self._save_due = self.group.sum_gradients(list(self.net.parameters()), late)
        parameters = [p for p in self.net.parameters() if p.grad is not None]
        self.totals.updates += 1
        if config.clip_value:
            nn.utils.clip_grad_value_(parameters, config.clip_value)
        norm = None
        if config.clip_norm:
            total = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            norm = float(total)
            if not norm <= config.clip_norm:  # seldom; it takes a pass over all gradients
                nn.utils.clip_grads_with_norm_(parameters, config.clip_norm, total)
            self.totals.clipped += norm > config.clip_norm
        if self.monitor is not None:
            self.monitor.step(norm)
        for group in self.optimiser.param_groups:
            group["lr"] = group["times"] * config.rate * self.schedule.rate(self.step)
        self.optimiser.step()
        if self.direct is not None:
            rate = config.maxent_lr * self.schedule.rate(self.step)
            self.direct.step(rate, self._tokens, self.group)
        self._tokens = 0
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.averager.add()

    # -- the end of an epoch ---------------------------------------------------------------------

    def _end_epoch(self) -> EpochRecord:
        """Measure, keep the parameters if they are the best so far, and begin the next epoch."""
        self.totals.add_up(self.group)
        self.optimiser.zero_grad(set_to_none=True)  # of batches too few for one more step
        self._tokens = 0
        if self.direct is not None:
            self.direct.forget()
        with self.averager.in_place():
            valid = self._valid_perplexity()
            if valid is not None and valid < self._best_valid():
                self.best = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        record = self._record(valid)
        if self.config.optimiser == "asgd" and not self.averager.count and self._stalls(valid):
            self.averager.begin()
        self.curve.append(record)
        self.epoch += 1
        self.position = 0
        self.totals = EpochTotals()
        return record

    def _best_valid(self) -> float:
        known = [r.valid_perplexity for r in self.curve if r.valid_perplexity is not None]
        return min(known, default=math.inf)

    def _stalls(self, valid: float | None) -> bool:
        """Whether validation is worse than it was some epochs ago (Merity et al. 2018, alg. 1)."""
        known = [r.valid_perplexity for r in self.curve if r.valid_perplexity is not None]
        return valid is not None and valid > min(known[:-AVERAGING_PATIENCE], default=math.inf)

    def _valid_perplexity(self) -> float | None:
        """Perplexity of the validation text, if there is one, as the first process finds it."""
        if self.valid is None:
            return None
        if not self.group.first:
            return self.group.broadcast_from_rank0(0.0)
        scores = self._model_now().text_log_probs(self.valid.ids)
        entropy = -float(scores.sum(dtype=np.float64)) / self.valid.tokens
        return self.group.broadcast_from_rank0(math.exp(min(entropy, 700)))

    def _record(self, valid: float | None) -> EpochRecord:
        totals = self.totals
        return EpochRecord(
            epoch=self.epoch + 1,
            tokens=int(totals.tokens),
            seconds=totals.seconds,
            train_perplexity=totals.perplexity,
            valid_perplexity=valid,
            rate=self.config.rate * self.schedule.rate(max(self.step - 1, 0)),
            clipped=totals.share_clipped,
        )

    def _tick(self, rate: float) -> Tick:
        done = (self.epoch + self.position / self._batches_in_epoch()) / self.config.epochs
        left = (1 - done) * self.config.epochs * self.corpus.tokens / rate
        valid = self.curve[-1].valid_perplexity if self.curve else None
        perplexity = self.totals.perplexity
        return Tick(self.epoch + 1, self.config.epochs, done, rate, left, perplexity, valid)

    # -- the model, and saving -------------------------------------------------------------------

    def model(self) -> NeuralModel:
        """The model with the parameters that did best on the validation text, or the last."""
        with self.averager.in_place():
            if self.best is not None:
                set_parameters(self.net, self.best)
            return self._model_now(copy.deepcopy(self.net))

    def _model_now(self, net: Net | None = None) -> NeuralModel:
        provenance = {
            "text": {
                "tokens": self.corpus.tokens,
                "sentences": self.corpus.sentences,
                "unknown": int(self.corpus.word_counts[UNK]),
            },
            "training": {
                "settings": asdict(self.config),
                "vectors": self.vectors_line,
                "curve": [asdict(record) for record in self.curve],
            },
        }
        settings = {"text": asdict(self.options)}
        return NeuralModel(net or self.net, self.corpus.vocabulary, settings, provenance)

    def checksums(self) -> dict[str, str]:
        """CRC-32 of the ids of both texts."""
        texts = {"train": self.corpus, "valid": self.valid}
        return {n: _checksum(text.ids) for n, text in texts.items() if text is not None}

    def keep(self, path: Path, minutes: float = 5.0, resume: bool = False) -> None:
        """Write a checkpoint every so often; go on from one if there is one and it is wished.

        Raises:
            FormatError, SettingError: it cannot be gone on from.
        """
        self._path, self._minutes = path, minutes
        if resume and self.group.broadcast_from_rank0(float(path.exists())):
            resume_from(self, path)

    def take_place(self, config: dict[str, Any]) -> None:
        """Go to where a checkpoint's settings say that it was written."""
        self.epoch, self.position, self.step = (config[n] for n in ("epoch", "position", "step"))
        self.totals = EpochTotals.restored(config["totals"])
        self.totals.keep_own(self.group)
        self.schedule.restore(config["schedule"])
        self.curve = [EpochRecord(**record) for record in config["curve"]]

    def _save(self) -> None:
        """Write a checkpoint, if one is wished; all processes come here together."""
        if self._path is not None:
            self.totals.add_up(self.group)
            write_checkpoint(self, self._path)
            self.totals.keep_own(self.group)
        self._saved, self._save_due = time.monotonic(), False


AVERAGING_PATIENCE = 5  # epochs without a gain before ASGD begins to average


def lower_precision(precision: str, device: torch.device) -> bool:
    """Whether products are to be taken in bfloat16.

    >>> lower_precision("auto", torch.device("cpu"))
    False
    """
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def _norm(net: Net) -> float:
    norms = [p.grad.norm() for p in net.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _checksum(ids: Array) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(ids).tobytes()):08x}"
