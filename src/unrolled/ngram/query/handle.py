"""A model's handle: the addresses and sizes of its arrays, as one array.

A kernel takes 0.1 microseconds to unpack an array that Python hands it, so that a model's dozen
takes longer than a query of one word. (Measured: 1.6 microseconds for an empty kernel that is given
the arrays, 1.4 as one tuple, 0.4 as a handle.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.packed_trie import PackedTrie
from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]

# Places in a handle, two numbers each; then come the bits of a word, whether there are codes, and
# whether the model is interpolated.
(
    LEVELS,
    WORDS,
    DIRECTORY,
    ENDS,
    UNIGRAMS,
    LOG_PROBS,
    LOG_PROB_BOOK,
    BACKOFFS,
    BACKOFF_CODES,
    BACKOFF_BOOK,
    LINK_BLOCKS,
    LINK_FIELDS,
    CODES,
    CODE_PLACES,
    WEIGHTS,
    TEXT,
    OFFSETS,
    SLOTS,
    END,
) = range(19)
BITS, CODED, INTERPOLATED, NUMBERS = range(2 * END, 2 * END + 4)


def handle_of(trie: PackedTrie, vocabulary: Vocabulary) -> tuple[Array, list[Array]]:
    """A model's handle, and the arrays that must be kept as long as it is used."""
    ends = trie.ends if trie.ends.size else np.zeros(1, np.uint32)
    arrays = [
        *(trie.levels, trie.words, trie.directory, ends, trie.linear[0]),
        *(trie.log_probs, trie.linear[1], *trie.backoff_arrays()),
        *trie.links(),
        *trie.interpolation(),
        *(vocabulary.arrays()[name] for name in ("text", "offsets", "slots")),
    ]
    kept = [np.ascontiguousarray(array) for array in arrays]
    places = [number for array in kept for number in (array.ctypes.data, array.size)]
    flags = trie.bits, trie.quantized, trie.interpolated
    return np.array([*places, *flags], np.int64), kept
