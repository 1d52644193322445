"""Round one length of the n-grams that begin with a range of first words: a `Step`."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.parts import Estimated, Part, Step, arranged_part, places_of_children
from unrolled.scale.rounding import Books, rounded_contexts
from unrolled.storage.columns import Column, CountColumn

Array = np.ndarray[Any, Any]


class PartRounder(Step):
    """Rounds the parts of one length, which is estimated, as quantizing in memory does.

    A row that is sent has the n-gram's probability, what its code stands for, and its place among
    the n-grams of its context.

    Args:
        length: words of an n-gram, 2 to the order.
        books: the values to round to.
        unigrams: (V,) log-probabilities of order 1.
        sums: (V, 2) what all words after each word sum to; known after length 2.
    """

    sends_sums, width, rounds = True, 3, True

    def __init__(
        self, config: NgramConfig, length: int, books: Books, unigrams: Array, sums: Array | None
    ) -> None:
        self.config, self.length, self.books = config, length, books
        self.unigrams, self.sums = unigrams, sums

    def outputs(self, files: LevelFiles) -> dict[str, Column | CountColumn]:
        """Codes, back-off weights and links."""
        made: dict[str, Column | CountColumn] = {
            "codes": files.codes(self.length),
            "backoffs": files.rounded_backoffs(self.length - 1),
        }
        if self.length > 2:
            made["links"] = files.links(self.length)
        return made

    def estimate(self, part: Part) -> Estimated:
        """Codes and weights of a part, and what it sends."""
        children = part.children
        kept: Any = slice(None)
        kept_contexts: Any = slice(None)
        if self.config.prune:
            kept = part.occurrences > self.config.cutoff(self.length)
            cutoff = self.config.cutoff(self.length - 1)
            children = part.kept_children(kept, cutoff)
            if part.context_occurrences is not None:
                kept_contexts = part.context_occurrences > cutoff
        pairs, links = self._lower(part, kept)
        sums = self._whole(part, kept_contexts)
        rounded = rounded_contexts(
            children, part.log_probs, part.backoffs, (pairs, sums), self.books, self.length
        )
        marked = (children > 0) | (part.backoffs != 0)
        backoffs = np.where(marked, self.books.backoffs[rounded.backoff_codes], np.float32(0))
        columns = {"codes": rounded.codes, "backoffs": backoffs}
        if self.length > 2:
            columns["links"] = links
        return Estimated(
            columns,
            sent=self._sent(part, kept, children, rounded.pairs),
            sums_sent=self._sums_sent(part, kept_contexts, rounded.sums),
            sums=rounded.sums if self.length == 2 else None,
        )

    def _lower(self, part: Part, kept: Any) -> tuple[Array, Array]:
        """Probabilities of the suffixes, exact and rounded, (N, 2), and their places, (N,)."""
        if self.length == 2:
            exact = np.exp(self.unigrams)[part.bigram_words[kept]]
            return np.stack([exact, exact], axis=1), np.empty(0, np.uint32)
        rows = arranged_part(part, self.length, part.received, part.descendants)[kept]
        return np.ascontiguousarray(rows[:, :2]).view(np.float32), rows[:, 2]

    def _whole(self, part: Part, kept: Any) -> Array | None:
        """What all words after the suffix of each context sum to, (C, 2)."""
        if self.length == 2:
            return None
        if self.length == 3:
            assert self.sums is not None
            values: Array = self.sums[part.bigram_words]
        else:
            rows = arranged_part(
                part, self.length - 1, part.context_received, part.context_descendants
            )
            values = rows.view(np.float32)
        return np.asarray(values[kept])

    def _sent(self, part: Part, kept: Any, children: Array, pairs: Array) -> list[Array]:
        """Rows for the n-grams one word longer; those that are dropped send zeros."""
        if part.sender is None:
            return []
        values = np.zeros((part.sender.adjusted.size, 3), np.uint32)
        values[kept, :2] = pairs.view(np.uint32)
        values[kept, 2] = places_of_children(children)
        return part.sender.rows(values)

    def _sums_sent(self, part: Part, kept: Any, sums: Array) -> list[Array]:
        if part.context_sender is None:
            return []
        values = np.ones((part.context_sender.adjusted.size, 2), np.float32)
        values[kept] = sums
        return part.context_sender.rows(values)
