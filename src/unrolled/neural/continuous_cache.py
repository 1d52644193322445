"""A cache over a net's outputs: words that followed similar outputs are likely to occur again.

The cache holds the net's outputs h_i of the last N tokens, each with the next word x_i. The
probability of the next word after h is then (Grave, Joulin, Usunier 2017, "Improving neural
language models with a continuous cache")

p(w) = (1 - weight) p_net(w | h) + weight p_cache(w | h)
p_cache(w | h) = sum over i with x_i = w of exp(theta h . h_i), divided by the sum over all i

Nothing is trained: the cache works with any net.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.neural.cells import State as NetState
from unrolled.neural.model import AdaptedNet
from unrolled.neural.streams import in_order, steps_of
from unrolled.text.vocabulary import BOS, EOS, UNK

Array = np.ndarray[Any, Any]
Cache = tuple[Tensor, Tensor]  # outputs (n, E), oldest first, and the words after them (n,) int64
State = tuple[NetState, Cache]

CHUNK_STEPS = 64  # tokens that are scored at a time


class ContinuousCacheModel(AdaptedNet):
    """A net with a cache over its outputs, as a language model; </s> is a word like others.

    In a running text the cache is carried from sentence to sentence; separate sentences each have
    their own.

    Args:
        model: a net, a `NeuralModel`.
        window: N, the tokens that the cache holds.
        weight: of the cache.
        theta: how much more the more similar outputs count; 0: all the same.

    Raises:
        SettingError: the model is no net, or a setting is not allowed.
    """

    kind, kind_name = "continuous-cache", "a net with a continuous cache"

    def __init__(
        self, model: LanguageModel, *, window: int = 500, weight: float = 0.1, theta: float = 0.5
    ) -> None:
        if window < 1:
            raise SettingError(f"the cache's window is {window}, allowed are 1 and more")
        if not 0 <= weight < 1:
            raise SettingError(f"the cache's weight is {weight}, allowed are 0 to below 1")
        if not 0 <= theta < math.inf:
            raise SettingError(f"the cache's theta is {theta}, allowed are 0 and more")
        super().__init__(model, "a cache over outputs")
        self.window, self.weight, self.theta = window, weight, theta

    @property
    def name(self) -> str:
        """The net's with ``-cache-`` and the window."""
        return f"{self.model.name}-cache-{self.window}"

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,), each sentence with a cache of its own; float32."""
        return self._scores(ids, apart=True)

    def text_log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) of a running text, with one cache for all of it."""
        return self._scores(ids, apart=False)

    @torch.inference_mode()
    def _scores(self, ids: Array, apart: bool) -> Array:
        net, device = self.model.net, self.model.net.vectors.device
        steps = steps_of(np.where((ids >= 0) & (ids < len(self.vocabulary)), ids, UNK))
        scores = np.zeros(ids.size, np.float32)
        cache = self._empty()
        for batch in in_order(steps, CHUNK_STEPS, apart or net.config.reset_state_per_sentence):
            if batch.fresh:
                state = net.begin(1)
                cache = self._empty() if apart else cache
            h, state = net(torch.from_numpy(batch.inputs).to(device), state)
            targets = torch.from_numpy(batch.targets[:, 0]).to(device)
            values = self._mixed(h[:, 0], targets, cache)
            scores[steps.places[batch.steps[:, 0]]] = values.float().cpu().numpy()
            cache = self._with(cache, h[:, 0], targets)
        return scores

    def _mixed(self, h: Tensor, targets: Tensor, cache: Cache) -> Tensor:
        """log p of targets (T,) after outputs h (T, E), which the cache does not have yet."""
        base = self.model.net.output.log_probs(h, targets)
        h = self._key(h)
        keys, words = torch.cat([cache[0], h]), torch.cat([cache[1], targets])
        own = torch.arange(len(cache[1]), len(words), device=h.device).unsqueeze(1)
        every = torch.arange(len(words), device=h.device)
        seen = (every < own) & (every >= own - self.window)  # (T, K)
        similar = (self.theta * h @ keys.t()).masked_fill(~seen, -math.inf)
        total = torch.logsumexp(similar, -1)
        same = words == targets.unsqueeze(1)
        found = torch.logsumexp(similar.masked_fill(~same, -math.inf), -1)
        mixed = torch.logaddexp(
            base + math.log1p(-self.weight),
            found - total + (math.log(self.weight) if self.weight else -math.inf),
        )
        return torch.where(total > -math.inf, mixed, base)  # an empty cache says nothing

    def _empty(self) -> Cache:
        vectors = self.model.net.vectors
        return vectors.new_zeros(0, vectors.shape[1]), torch.zeros(
            0, dtype=torch.int64, device=vectors.device
        )

    def _with(self, cache: Cache, h: Tensor, words: Tensor) -> Cache:
        """The cache with more outputs and words, without the oldest."""
        keys = torch.cat([cache[0], self._key(h)])[-self.window :]
        return keys, torch.cat([cache[1], words])[-self.window :]

    def _key(self, h: Tensor) -> Tensor:
        """Outputs without the words that n-gram features beside a net go by."""
        return self.model.net.output.split_context(h)[0]

    # -- word by word ------------------------------------------------------------------------------

    def start(self) -> State:
        """The state after <s>, with an empty cache."""
        return self.model.start(), self._empty()

    @torch.inference_mode()
    def advance(self, state: State, word: int) -> State:
        """The state after one more word; after </s> it may go on with the <s> of the next."""
        inner, cache = state
        if word == BOS:
            fresh = self.model.net.config.reset_state_per_sentence
            return (self.model.start() if fresh else self.model.advance(inner, BOS)), cache
        cache = self._with(cache, inner[-1], torch.tensor([word], device=cache[1].device))
        return (inner if word == EOS else self.model.advance(inner, word)), cache  # reads no </s>

    @torch.inference_mode()
    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next, (V,) float32."""
        inner, (keys, words) = state
        base = self.model.next_log_probs(inner)
        if len(words) == 0:
            return base
        shares = (
            torch.softmax(self.theta * (keys @ self._key(inner[-1])[0]), 0).double().cpu().numpy()
        )
        cached = np.bincount(words.cpu().numpy(), shares, base.size)
        mixed = (1 - self.weight) * np.exp(base.astype(np.float64)) + self.weight * cached
        with np.errstate(divide="ignore"):  # <s> has no probability
            result: Array = np.log(mixed).astype(np.float32)
        return result
