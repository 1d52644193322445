"""The largest values of a convolution over characters, and its gradients, for slices of words.

The values of a word are the same to the last bit whatever words are computed with it. Only one
place of a word matters to each filter, so going back takes a window for each filter and word, not
for each filter and character.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.neural.recurrent_kernels import multiply_rows
from unrolled.runtime.kernels import kernel
from unrolled.runtime.simd import WIDTH, add_product, broadcast, load, store

Array = np.ndarray[Any, Any]


@kernel
def convolve(
    windows: Array, weight: Array, values: Array, begins: Array, ends: Array, most: Array,
    places: Array,
) -> None:  # fmt: skip
    """The largest values (U, F) of each filter within words, and the first places that have them.

    Args:
        windows: (M, K) numbers at each place. weight: (K, F) in blocks, see
            `recurrent_kernels.pack`. values: (M, F) biases, and room for the values.
        begins, ends: (U,) int64 places of each word.
        most, places: (U, F) out, float32 and int64. What is no number is the largest.
    """
    multiply_rows(windows, 0, 0, weight, windows.shape[1], values, 0, windows.shape[0], True)
    for word in range(begins.size):
        for f in range(values.shape[1]):
            most[word, f] = values[begins[word], f]
            places[word, f] = begins[word]
        for place in range(begins[word] + 1, ends[word]):
            for f in range(values.shape[1]):
                value = values[place, f]
                if value > most[word, f] or (value != value and most[word, f] == most[word, f]):
                    most[word, f], places[word, f] = value, place


@kernel
def send_back(
    errors: Array, places: Array, flat: Array, vectors: Array, weight: Array, dvectors: Array,
    dweight: Array,
) -> None:  # fmt: skip
    """Gradients by the characters' vectors and the filters, added to what is there.

    Args:
        errors: (U, F) by the largest values. places: (U, F) int64 where their windows begin.
        flat: (M,) int64 characters. vectors: (C, W), W a multiple of `simd.WIDTH`.
        weight: (F window, W), the rows of a filter one after the other.
    """
    filters = errors.shape[1]
    window = weight.shape[0] // filters
    for word in range(errors.shape[0]):
        for f in range(filters):
            error = broadcast(errors[word, f])
            for k in range(window):
                row, character = f * window + k, flat[places[word, f] + k]
                for j in range(0, vectors.shape[1], WIDTH):
                    w, v = load(weight, row, j), load(vectors, character, j)
                    store(dweight, row, j, add_product(load(dweight, row, j), error, v))
                    total = add_product(load(dvectors, character, j), error, w)
                    store(dvectors, character, j, total)
