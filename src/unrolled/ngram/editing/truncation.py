"""A model of a lower order out of one of a higher order.

>>> from unrolled import train_ngram
>>> texts = ["the cat sat on the mat", "the dog sat on the cat", "a dog ran"]
>>> model = train_ngram(texts=texts, order=3, smoothing="witten-bell")
>>> bigram = truncate_order(model, 2)
>>> bigram.order, [int(size) for size in np.diff(bigram.trie.levels)]
(2, [11, 14])
>>> float(np.exp(bigram.next_log_probs(bigram.start())).sum().round(5))
1.0
"""

from __future__ import annotations

import warnings

import numpy as np

from unrolled.errors import SettingError, UnrolledWarning
from unrolled.ngram.editing.trie_editing import opened, remade
from unrolled.ngram.model import NgramModel


def truncate_order(model: NgramModel, order: int) -> NgramModel:
    """The model without its n-grams of more than ``order`` words, as SRILM's ``ngram -order N``.

    The probabilities and back-off weights that stay are as they were: the weight of a context
    belongs to the n-grams that follow it and to those of lower order, which all stay, so that each
    context still sums to one. Where the model backs off from a context of ``order`` words or more
    without a weight, nothing changes for it either.

    Args:
        order: from 1 to the model's; at the model's own order nothing goes.

    Raises:
        SettingError: another order.

    Warns:
        UnrolledWarning: of a Kneser-Ney model, whose lower orders estimate in how many contexts a
            word comes and not how often: a model trained at that order predicts better.
    """
    if not 1 <= order <= model.order:
        raise SettingError(f"the order is {order}, and must be 1 to {model.order} for this model")
    if order == model.order:
        return model
    if "kneser-ney" in str(model.config.get("smoothing", "")):
        warnings.warn(
            f"the lower orders of {model.name} are continuation estimates, made for backing off "
            "and not for use by themselves: a model trained with "
            f"--order {order} has a lower perplexity",
            UnrolledWarning,
            stacklevel=2,
        )
    table = opened(model)
    keep = np.zeros(int(table.levels[-1]), bool)
    keep[: int(table.levels[order])] = True
    kept = table.select(keep)
    return remade(model, kept, model.vocabulary, {"truncated": {"order": order}})
