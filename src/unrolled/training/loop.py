"""The one training loop, of language models and of taggers.

A `Task` knows the model and the data: it gives batches, adds gradients, and scores. The loop knows
how training proceeds: epochs, the learning rate, clipping, averages of weights, the best epoch,
early stopping, divergence, checkpoints, and what is reported.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import DivergedError, FormatError
from unrolled.runtime.torch_threads import one_thread
from unrolled.training.averaging import Averager, set_parameters
from unrolled.training.checkpoints import read_checkpoint, write_checkpoint
from unrolled.training.distributed import Group
from unrolled.training.optimisers import optimiser_of
from unrolled.training.records import EpochRecord, EpochTotals, Progress
from unrolled.training.schedules import Schedule
from unrolled.training.task import BatchLoss, Monitor, Task

AVERAGING_PATIENCE = 5  # epochs without a gain before ASGD begins to average
MAX_LOSS = 1e4  # nats per token; a model whose weights are in order is far below


class TrainingLoop:
    """Training as an object that can be saved in the middle.

    Args:
        task: what is trained. group: the processes that train together.
    """

    def __init__(self, task: Task, group: Group | None = None) -> None:
        self.task, self.group = task, group or Group()
        self.settings = settings = task.config
        self.optimiser = optimiser_of(
            settings.optimiser,
            task.groups(),
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.schedule = Schedule(
            settings.schedule,
            settings.epochs * task.batches_per_epoch,
            warmup=settings.warmup,
            patience=settings.patience,
            decay=settings.decay,
            epochs=settings.epochs,
        )
        span = settings.averaging * task.batches_per_epoch or math.inf
        self.averager = Averager(task.module, max(1.0, span))
        if settings.averaging:
            self.averager.begin()
        self.monitor: Monitor | None = None
        self.epoch, self.position, self.step = 0, 0, 0
        self.finished = False
        self.totals = EpochTotals()
        self.curve: list[EpochRecord] = []
        self.best: dict[str, Tensor] | None = None
        self._parameters = [p for p in task.module.parameters() if p.requires_grad]
        self._path: Path | None = None
        self._minutes = math.inf
        self._saved, self._save_due = time.monotonic(), False

    # -- the loop --------------------------------------------------------------------------------

    def run(
        self,
        *,
        report: Callable[[str], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Train to the end, and leave the module with the parameters of the best epoch.

        Without validation data the last epoch is the best.

        Args:
            report: called with a line after each epoch. progress: called about every second.

        Raises:
            DivergedError: training diverges.
            UnrolledError: a checkpoint cannot be written.
        """
        say = report or (lambda line: None)
        try:
            while not self.finished:
                self.run_epoch(progress)
                record = self.end_epoch()
                say(record.line())
                going = self.schedule.epoch_ended(self._objective(record))
                if not going and self.schedule.stale:
                    say(f"no better score for {self.schedule.stale} epochs: stopping")
                self.finished = not going or self.epoch >= self.settings.epochs
                self.save()
        finally:
            if self.monitor is not None:
                self.monitor.close()
        set_parameters(self.task.module, self.best or self.averager.values())

    def run_epoch(self, progress: Callable[[Progress], None] | None = None) -> None:
        """Train on the batches that are left of this epoch."""
        self.task.module.train()
        reported = began = time.monotonic()
        before, tokens = self.totals.seconds, 0
        for number, batch in enumerate(self.task.batches(self.epoch)):
            if number < self.position:
                continue
            tokens += self.train_batch(batch).tokens
            self.position = number + 1
            now = time.monotonic()
            self.totals.seconds = before + now - began
            if progress is not None and now - reported > 1:
                reported = now
                progress(self._progress(tokens / (now - began)))
            if self._save_due:
                self.save()

    def train_batch(self, batch: Any) -> BatchLoss:
        """Add a batch's gradients, and update the parameters when an update is due."""
        with one_thread() if self.task.slices_work else nullcontext():
            return self._train_batch(batch)

    def _train_batch(self, batch: Any) -> BatchLoss:
        loss = self.task.backward(batch)
        per_token = loss.mean * loss.weight / max(loss.tokens, 1)
        if not abs(per_token) <= MAX_LOSS:
            self._diverged(f"the loss is {loss.mean:g}")
        self.totals.loss += loss.weight * loss.mean
        self.totals.weight += loss.weight
        self.totals.tokens += loss.tokens
        if (self.position + 1) % self.task.accumulate == 0:
            self.update()
        return loss

    def update(self) -> None:
        """Clip the gradients and move the parameters."""
        late = self.group.first and time.monotonic() - self._saved > 60 * self._minutes
        self._save_due = self.group.sum_gradients(self._parameters, late)
        norm = self._clip()
        if self.monitor is not None:
            self.monitor.step(norm)
        factor = self.schedule.rate(self.step)
        self.optimiser.step(self.settings.rate * factor)
        self.task.step_rows(factor)
        self.optimiser.zero_grad()
        self.totals.updates += 1
        self.step += 1
        self.averager.add()

    def _clip(self) -> float | None:
        """Clip all gradients; their norm before, if it was needed."""
        value, limit = self.settings.clip_value, self.settings.clip_norm
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        gradients += self.task.row_gradients()
        if value:
            for gradient in gradients:
                gradient.clamp_(-value, value)
        if not limit:
            return None
        norm = float(nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            self._diverged(f"the norm of the gradient is {norm}")
        if norm > limit:  # seldom; it takes a pass over all gradients
            torch._foreach_mul_(gradients, limit / norm)
            self.totals.clipped += 1
        return norm

    def _diverged(self, what: str) -> None:
        raise DivergedError(
            f"training has diverged: {what} at step {self.step + 1} of epoch {self.epoch + 1}",
            hint="Try a lower rate, a smaller clip_norm, or another cell",
        )

    # -- the end of an epoch ---------------------------------------------------------------------

    def end_epoch(self) -> EpochRecord:
        """Score, save the parameters if they are the best so far, and begin the next epoch."""
        self.totals.add_up(self.group)
        self.optimiser.zero_grad()  # of batches too few for one more update
        self.task.forget_gradients()
        if not all(bool(torch.isfinite(p).all()) for p in self.task.module.parameters()):
            self._diverged("a weight is no longer a finite number")
        with self.averager.in_place():
            score = self.task.score()
            if score is not None and not math.isfinite(score):
                self._diverged(f"the validation score is {score}")
            if score is not None and self._cost(score) < self._best_cost(len(self.curve)):
                self.best = {n: p.detach().clone() for n, p in self.task.module.named_parameters()}
        if self.settings.optimiser == "asgd" and not self.averager.count and self._stalls(score):
            self.averager.begin()
        totals = self.totals
        record = EpochRecord(
            epoch=self.epoch + 1,
            tokens=int(totals.tokens),
            seconds=totals.seconds,
            loss=totals.mean_loss,
            score=score,
            metric=self.task.metric,
            rate=self.settings.rate * self.schedule.rate(max(self.step - 1, 0)),
            clipped=totals.clipped / max(totals.updates, 1),
        )
        self.curve.append(record)
        self.epoch, self.position, self.totals = self.epoch + 1, 0, EpochTotals()
        return record

    def _cost(self, score: float) -> float:
        return score if self.task.lower_is_better else -score

    def _best_cost(self, epochs: int) -> float:
        known = [self._cost(r.score) for r in self.curve[:epochs] if r.score is not None]
        return min(known, default=math.inf)

    def _stalls(self, score: float | None) -> bool:
        """Whether validation is worse than it was some epochs ago (Merity et al. 2018, alg. 1)."""
        known = max(len(self.curve) - AVERAGING_PATIENCE, 0)
        return score is not None and self._cost(score) > self._best_cost(known)

    def _objective(self, record: EpochRecord) -> float:
        """What the schedule is to lower: nats per token, or the share of errors."""
        if record.score is None:
            return record.loss
        return math.log(record.score) if self.task.lower_is_better else 1 - record.score

    def _progress(self, speed: float) -> Progress:
        settings, task = self.settings, self.task
        done = (self.epoch + self.position / task.batches_per_epoch) / settings.epochs
        left = (1 - done) * settings.epochs * task.tokens_per_epoch / speed
        score = self.curve[-1].score if self.curve else None
        loss = self.totals.mean_loss
        return Progress(
            self.epoch + 1, settings.epochs, done, speed, left, loss, score, task.metric
        )

    # -- checkpoints -----------------------------------------------------------------------------

    def enable_checkpoints(self, path: Path, minutes: float = 5.0, resume: bool = False) -> None:
        """Write a checkpoint every so many minutes and after each epoch.

        Args:
            resume: continue from the one that is there, if there is one: on the CPU and with as
                many processes to the same bits, else to nearly the same.

        Raises:
            FormatError, SettingError: it cannot be resumed from, see `read_checkpoint`.
        """
        self._path, self._minutes = path, minutes
        if resume and self.group.broadcast_from_rank0(float(path.exists())):
            place, tensors = read_checkpoint(path, self.task.kind, self.task.identity())
            try:
                self._load(place, tensors)
            except (KeyError, TypeError, RuntimeError, ValueError) as error:
                raise FormatError(
                    f"the checkpoint cannot be used: {error}", where=str(path)
                ) from None

    def save(self) -> None:
        """Write a checkpoint, if they are enabled; all processes come here together."""
        if self._path is not None:
            self.totals.add_up(self.group)
            tensors = self._tensors()
            if self.group.first:
                write_checkpoint(
                    self._path,
                    self.task.kind,
                    identity=self.task.identity(),
                    place=self._place(),
                    tensors=tensors,
                )
            self.totals.keep_own(self.group)
        self._saved, self._save_due = time.monotonic(), False

    def _place(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "position": self.position,
            "step": self.step,
            "finished": self.finished,
            "totals": asdict(self.totals),
            "schedule": self.schedule.state(),
            "averaged": self.averager.count,
            "curve": [asdict(record) for record in self.curve],
        }

    def _tensors(self) -> dict[str, Tensor]:
        parts: dict[str, Mapping[str, Tensor]] = {
            "net": dict(self.task.module.named_parameters()),
            "best": self.best or {},
            "mean": self.averager.means,
            "optimiser": self.optimiser.state(),
            "task": self.task.tensors(),
            "random": {
                str(rank): state
                for rank, state in enumerate(self.group.all_rows(torch.get_rng_state()))
            },
        }
        return {f"{part}.{name}": t for part, held in parts.items() for name, t in held.items()}

    def _load(self, place: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = tensor
        devices = {name: p.device for name, p in self.task.module.named_parameters()}
        for part in ("best", "mean"):
            parts[part] = {n: t.to(devices[n]) for n, t in parts.get(part, {}).items()}
        set_parameters(self.task.module, parts["net"])
        self.best = parts["best"] or None
        self.averager.means = parts["mean"]
        self.averager.count = place["averaged"]
        self.optimiser.load_state(parts.get("optimiser", {}))
        self.task.load_tensors(parts.get("task", {}))
        own = str(self.group.rank)
        if own in parts["random"]:  # else there are more processes than there were
            torch.set_rng_state(parts["random"][own])
        self.epoch, self.position, self.step = (place[n] for n in ("epoch", "position", "step"))
        self.finished = place["finished"]
        self.totals = EpochTotals(**{name: float(v) for name, v in place["totals"].items()})
        self.totals.keep_own(self.group)
        self.schedule.restore(place["schedule"])
        self.curve = [EpochRecord(**record) for record in place["curve"]]
