"""The Numba kernel of the cache model."""

from __future__ import annotations

import numpy as np

from unrolled.runtime.kernels import kernel


@kernel
def score_cache(ids, size, decay, prior, running, out):  # type: ignore[no-untyped-def]
    """Log-probability of each id under a decaying cache; see `unrolled.language_models.cache`.

    A word's mass is updated only where the word occurs, so the cost of a token does not depend on
    the size of the vocabulary.

    Args:
        ids: (T,) int32, sentences as <s> words </s>; ids outside the vocabulary count as <unk>.
        size: V. decay: what a word's mass is multiplied by at each token. prior: see the module.
        running: whether the cache is carried from sentence to sentence.
        out: (T,) float32, filled in.
    """
    mass, seen = np.zeros(size), np.zeros(size, np.int64)
    total, time, since = 0.0, 0, 0
    for place in range(ids.size):
        word = ids[place]
        if word < 0 or word >= size:
            word = 0
        if word == 1:
            out[place] = 0
            if not running:
                total, since = 0.0, time
            continue
        now = 0.0
        if seen[word] > since:
            now = mass[word] * decay ** (time - seen[word])
        out[place] = np.log((now + prior / (size - 1)) / (total + prior))
        # The word's mass counts fully at the next token and less at each after it.
        time += 1
        mass[word] = now * decay + 1
        seen[word] = time
        total = total * decay + 1
