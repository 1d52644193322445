"""Count files within a budget of memory: lines to the columns of all n-grams, in files.

1. Each source is read once: its words, and its n-grams as rows of a file for each length.
2. From the longest n-grams on, each length is completed a range of first words at a time, in each
   source by itself: what the source lists, the contexts of its n-grams one word longer, and their
   suffixes, which lie in other ranges and were sent to this one.
3. The completed n-grams of a range, of all sources, become its columns.

Each source, each length and the columns are phases of the work folder: what a phase read is removed
once it is finished.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from unrolled.ngram.counts.count_files import checked_weights, no_such_order
from unrolled.ngram.trie.union import known_ids
from unrolled.scale.budget import Budget
from unrolled.scale.completion import Completion
from unrolled.scale.count_sources import (
    common_vocabulary,
    finish_source,
    read_source,
    stored_source,
)
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.reading import stored_vocabulary
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.sources import Sources
from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]


def read_counts_within(
    sources: Sources,
    folder: WorkFolder,
    budget: Budget,
    *,
    order: int | None = None,
    vocabulary: Vocabulary | None = None,
    weights: Any = None,
    rows_at_once: int | None = None,
    report: Report,
    progress: Callable[[int], None] | None = None,
) -> tuple[LevelFiles, Vocabulary, Array]:
    """Read count files as `read_counts` does, with n-grams in files.

    Args:
        folder: where the files go. budget: of memory.
        sources, order, vocabulary, weights, report, progress: as those of `read_counts`.
        rows_at_once: of a range of first words; by default as many as fit.

    Returns:
        The n-grams' columns, the vocabulary, and how often each word occurs (V,) int64.

    Raises:
        As `read_counts`; SettingError: too small a budget, or words without a line of their own.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    factors = checked_weights(weights, len(given))
    if folder.has("counts"):
        stored = folder.arrays("counts")
        longest = folder.values("counts")["order"]
        files = LevelFiles(folder.path, longest, stored["by_word"], stored["totals"])
        return files, stored_vocabulary(stored), stored["word_counts"]
    read = []
    for number, source in enumerate(given):
        if not folder.has(f"source {number}"):
            report(f"reading counts from {os.fspath(source)}")
            finish_source(
                folder, number, read_source(source, number, vocabulary, folder.path, progress)
            )
        read.append(stored_source(folder, number, os.fspath(source)))
        budget.check()
    words = common_vocabulary(read, factors, vocabulary)
    for one in read:
        one.ids = known_ids(one.words, words)
    completion = Completion(read, words, folder, budget, rows_at_once)
    longest = completion.longest
    if order is not None and not 1 <= order <= longest:
        raise no_such_order(order, longest)
    for length in range(longest, 1, -1):
        if not folder.has(f"completed {length}"):
            report(f"completing n-grams of order {length}")
            completion.complete(length)
    counts = completion.unigrams(factors)
    report("sorting n-grams")
    files = completion.columns(order or longest, factors)
    arrays = {"by_word": files.by_word, "totals": files.totals, "word_counts": counts}
    folder.finish("counts", {"order": files.order}, arrays | words.arrays())
    completion.remove()
    return files, words, counts
