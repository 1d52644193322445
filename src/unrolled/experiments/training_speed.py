"""Words a second of training, of several nets in turn, so that a machine's drift falls on all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from unrolled.text.corpus import Corpus

_LEAST = 2  # batches of a measurement


def speeds_in_turn(
    corpus: Corpus,
    settings: Mapping[str, Mapping[str, Any]],
    *,
    rounds: int = 5,
    seconds: float = 1.0,
    threads: int = 2,
) -> dict[str, list[float]]:
    """Words a second of training nets on a text, a measurement of each in every round.

    Rounds go through the nets in alternating order. Nets begin untrained, as speed does not depend
    on what they have learned. A measurement has forward, backward, clipping and update, and no
    reading of text.

    Args:
        settings: name -> settings of `train_net`.
        rounds: measurements of each net. seconds: of a measurement, at least, beyond two batches.
    """
    nets = {name: _Training(corpus, dict(own), threads) for name, own in settings.items()}
    for net in nets.values():
        net.words_per_second(0.0)  # compilation, and the first touch of memory
    found: dict[str, list[float]] = {name: [] for name in nets}
    for turn in range(rounds):
        for name in [*nets][:: -1 if turn % 2 else 1]:
            found[name].append(nets[name].words_per_second(seconds))
    return found


def medians(speeds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each net's speeds."""
    return {name: median(values) for name, values in speeds.items()}


class _Training:
    """A net in training that can be stopped after any batch."""

    def __init__(self, corpus: Corpus, settings: dict[str, Any], threads: int) -> None:
        from unrolled.neural.config import split_settings
        from unrolled.neural.task import LanguageModelTask
        from unrolled.training.loop import TrainingLoop

        self.task = LanguageModelTask(corpus, None, *split_settings(settings), threads=threads)
        self.task.net.train()
        self.loop = TrainingLoop(self.task)
        self.batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        epoch = 0
        while True:
            yield from self.task.batches(epoch)
            epoch += 1

    def words_per_second(self, seconds: float) -> float:
        begin, words, count = time.perf_counter(), 0, 0
        while count < _LEAST or time.perf_counter() - begin < seconds:
            words += self.loop.train_batch(next(self.batches)).tokens
            count += 1
        return words / (time.perf_counter() - begin)
