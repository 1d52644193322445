"""Output layers that are trained on samples of the vocabulary; evaluated they are exact.

A token costs S scores in training instead of V, the same S words for all tokens of a batch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.neural.output_layers import FullSoftmax
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]


class SampledSoftmax(FullSoftmax):
    """The full softmax, trained on the target and sampled words.

    With scores s, S words drawn from the unigram distribution q, and U the different ones among
    them, the loss of target t is

        -s_t + log(exp(s_t) + sum over u in U without t of exp(s_u) / pi_u),

    where pi_u = 1 - (1 - q_u)^S is the probability that u is drawn at all. The sum within the
    logarithm is an unbiased estimate of the softmax's denominator, and that itself once U is the
    whole vocabulary.
    # Differs from Jean et al. 2015 (section 3.2), who split the text into parts with a fixed
    # subset each, and from Bengio and Senecal 2008, who draw with repetition and weight by 1/q.

    Args:
        weight: (V, E), perhaps shared with the input vectors.
        samples: S.

    Raises:
        SettingError: no samples.
    """

    cumulative: Tensor
    log_proposal: Tensor

    def __init__(self, weight: nn.Parameter, samples: int) -> None:
        super().__init__(weight)
        if samples < 1:
            raise SettingError(f"samples is {samples}, allowed are 1 and more")
        self.samples = samples
        zeros = torch.zeros(weight.shape[0], dtype=torch.float64, device="cpu")
        self.register_buffer("cumulative", zeros, persistent=False)
        self.register_buffer("log_proposal", zeros.clone(), persistent=False)
        # Until counts come: words stand by falling frequency, which is about 1 / rank.
        self._propose(1 / np.arange(1, weight.shape[0] + 1))

    def init_unigram_bias(self, word_counts: Array) -> None:
        super().init_unigram_bias(word_counts)
        self._propose(np.asarray(word_counts, np.float64) + 0.5)

    def _propose(self, weights: Array) -> None:
        """Draw words in proportion to weights (V,), but never <s>."""
        weights = np.where(np.arange(weights.size) == BOS, 0, weights)
        shares = weights / weights.sum()
        with np.errstate(divide="ignore"):
            self.log_proposal.copy_(torch.from_numpy(np.log(shares)))
        self.cumulative.copy_(torch.from_numpy(np.cumsum(shares)))

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        of_targets = self._target_scores(h, targets)
        return self._estimate(h, of_targets, targets, self._draw().unique())

    def _draw(self) -> Tensor:
        """(S,) words, with repetitions."""
        places = torch.rand(self.samples, dtype=torch.float64, device=self.cumulative.device)
        words = torch.searchsorted(self.cumulative, places, right=True)
        return words.clamp_(max=len(self.cumulative) - 1)  # rounding may leave the sum below 1

    def _target_scores(self, h: Tensor, targets: Tensor) -> Tensor:
        """Scores (N,) of each row's own target."""
        vectors = nn.functional.embedding(targets, self.weight)
        return (h * vectors).sum(-1) + self.bias[targets]

    def _word_scores(self, h: Tensor, words: Tensor) -> Tensor:
        """Scores (N, S) of the words (S,)."""
        return nn.functional.linear(
            h, nn.functional.embedding(words, self.weight), self.bias[words]
        )

    def _estimate(self, h: Tensor, of_targets: Tensor, targets: Tensor, words: Tensor) -> Tensor:
        """Mean of the loss above; ``words`` are U."""
        log_drawn = torch.log(-torch.expm1(self.samples * torch.log1p(-self._shares(words))))
        scores = self._word_scores(h, words) - log_drawn.to(h.dtype)
        scores = scores.masked_fill(words == targets.unsqueeze(1), -math.inf)
        every = torch.cat([of_targets.unsqueeze(1), scores], 1)
        return (torch.logsumexp(every, 1) - of_targets).mean()

    def _shares(self, words: Tensor) -> Tensor:
        return self.log_proposal[words].exp().clamp(max=1 - 1e-9)


class NoiseContrastive(SampledSoftmax):
    """The full softmax, trained to discriminate words from noise (Mnih and Teh 2012, equation 8).

    Scores s are taken as log-probabilities as they are (Z = 1). With k words w drawn from the
    unigram distribution q, the same for all tokens of a batch, the loss of target t is

        -log sigma(s_t - log k q_t) - sum over w of log sigma(log k q_w - s_w).

    This loss is no log-probability, so the returned value is `SampledSoftmax`'s estimate from the
    same words, which learning curves can show; only the gradients are those of the loss above.

    Args:
        weight: (V, E), perhaps shared with the input vectors.
        samples: k.
    """

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        words = self._draw()
        of_targets = self._target_scores(h, targets)
        contrast = self._contrast(h, of_targets, targets, words)
        with torch.no_grad():
            estimate = self._estimate(h, of_targets, targets, words.unique())
        return contrast + (estimate - contrast).detach()

    def _contrast(self, h: Tensor, of_targets: Tensor, targets: Tensor, words: Tensor) -> Tensor:
        """Mean of the loss above."""
        expected = (self.log_proposal + math.log(self.samples)).to(h.dtype)
        of_noise = self._word_scores(h, words) - expected[words]
        right = nn.functional.softplus(expected[targets] - of_targets)
        return (right + nn.functional.softplus(of_noise).sum(1)).mean()
