"""Threads that models work on, time limits, and batches of single sentences.

Work is an iterator that stops for a moment now and then: so a long request lets others pass, ends
at its time limit, and is dropped when its client has gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from unrolled.errors import UnrolledError
from unrolled.language_models.protocol import LanguageModel
from unrolled.server.answers import RefusedError
from unrolled.server.models import ServedModel

SLICE_SECONDS = 0.02  # that a request works before the next one may
SLOTS = 16  # requests that are worked on in turn; each holds what it has found so far
_PATIENCE = 5  # slices after which it is worth to know whether the client is still there
BATCH_SENTENCES = 512  # single sentences that are scored at a time
BATCH_CHARACTERS = 100_000

Work = Iterator[Any]
Receive = Callable[[], Awaitable[Any]]


class Workers:
    """The threads of a process.

    N-gram models are used by several threads at a time; nets and taggers share one thread, as torch
    computes with several threads itself. Single sentences have a thread of their own.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._many = ThreadPoolExecutor(threads, "model")
        self._one = ThreadPoolExecutor(1, "net")
        self._short = ThreadPoolExecutor(1, "sentences")
        self._slots = asyncio.Semaphore(SLOTS)

    def pool(self, served: ServedModel, *, short: bool = False) -> ThreadPoolExecutor:
        """Where a model works."""
        if not served.shared:
            return self._one
        return self._short if short else self._many

    async def items(
        self, served: ServedModel, work: Work, deadline: float, receive: Receive
    ) -> AsyncIterator[list[Any]]:
        """What the work yields, in lists, as it comes.

        Args:
            receive: of the request; it tells when the client has gone.

        Raises:
            RefusedError: the time is over, or the client has gone.
        """
        loop, pool = asyncio.get_running_loop(), self.pool(served)
        gone: asyncio.Future[Any] | None = None
        ended, slices = False, 0
        async with self._slots:
            try:
                while not ended:
                    found, ended = await loop.run_in_executor(pool, _advance, work, deadline)
                    if found:
                        yield found
                    slices += 1
                    if slices == _PATIENCE:
                        gone = asyncio.ensure_future(receive())
                    elif gone is not None and gone.done():
                        raise RefusedError(499, "the client has gone")
            finally:
                if gone is not None:
                    gone.cancel()

    async def result(
        self, served: ServedModel, work: Work, deadline: float, receive: Receive
    ) -> Any:
        """The last thing that the work yields; see `items`."""
        last = None
        async for items in self.items(served, work, deadline, receive):
            last = items[-1]
        return last

    def close(self) -> None:
        """End the threads."""
        for pool in (self._many, self._one, self._short):
            pool.shutdown(wait=False, cancel_futures=True)


def _advance(work: Work, deadline: float) -> tuple[list[Any], bool]:
    """What the work yields within a slice of time, and whether it has ended; None is left out."""
    found: list[Any] = []
    now = time.monotonic()
    until = now + SLICE_SECONDS
    while now < until:
        if now > deadline:
            raise late()
        try:
            item = next(work)
        except StopIteration:
            return found, True
        if item is not None:
            found.append(item)
        now = time.monotonic()
    return found, False


def late() -> RefusedError:
    """The error of a request that took too long."""
    return RefusedError(
        422, "the request took longer than the server allows", hint="Send less at a time"
    )


SentenceScore = tuple[float, int, int]  # log-probability, tokens, OOVs


class SentenceBatches:
    """Single sentences of many requests, scored together: what came while a batch ran is the next.

    Args:
        scored: called with the sentences and tokens of each batch.
    """

    def __init__(self, workers: Workers, scored: Callable[[int, int], None]) -> None:
        self.workers, self.scored = workers, scored
        self._waiting: dict[int, list[tuple[str, asyncio.Future[SentenceScore]]]] = {}

    def submit(self, served: ServedModel, sentence: str) -> asyncio.Future[SentenceScore]:
        """The score of a sentence, when its batch has been scored."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[SentenceScore] = loop.create_future()
        waiting = self._waiting.get(id(served))
        if waiting is None:
            self._waiting[id(served)] = waiting = []
            # At the end of this turn of the loop, so that what came with it is in the batch.
            loop.call_soon(self._begin, served, waiting)
        waiting.append((sentence, future))
        return future

    def _begin(self, served: ServedModel, waiting: list[Any]) -> None:
        batch = _take(waiting)
        model = served.language_model("score")
        sentences = [sentence for sentence, _ in batch]
        loop = asyncio.get_running_loop()
        pool = self.workers.pool(served, short=True)
        job = loop.run_in_executor(pool, _scores, model, sentences, self.workers.threads)
        job.add_done_callback(lambda done: self._finish(served, waiting, batch, done))

    def _finish(self, served: ServedModel, waiting: list[Any], batch: list[Any], done: Any) -> None:
        error = done.exception()
        if error is None:
            results = done.result()
            tokens = sum(0 if isinstance(one, Exception) else one[1] for one in results)
            self.scored(len(batch), tokens)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        else:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        if waiting:
            self._begin(served, waiting)
        else:
            self._waiting.pop(id(served), None)


def _take(waiting: list[Any]) -> list[Any]:
    """The first of those that wait, not too much at a time."""
    size = count = 0
    for sentence, _ in waiting[:BATCH_SENTENCES]:
        size += len(sentence)
        count += 1
        if size > BATCH_CHARACTERS:
            break
    batch = waiting[:count]
    del waiting[:count]
    return batch


def _scores(
    model: LanguageModel, sentences: list[str], threads: int
) -> list[SentenceScore | Exception]:
    """The score of each sentence, or why it has none."""
    try:
        scores = model.token_scores(sentences, threads=threads)
    except UnrolledError as error:
        if len(sentences) == 1:
            return [error]
        return [_scores(model, [sentence], threads)[0] for sentence in sentences]
    return list(zip(*sentence_sums(scores), strict=True))


def sentence_sums(scores: Any) -> tuple[list[Any], list[int], list[int]]:
    """Of each sentence the log-probability, the predicted tokens, and the OOVs."""
    starts = scores.starts
    oov = np.add.reduceat(scores.oov, starts[:-1], dtype=np.int64)
    return scores.sums.tolist(), (np.diff(starts) - 1).tolist(), oov.tolist()
