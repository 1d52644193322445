"""Dynamic evaluation: a net that continues to learn from the text that it is scored on.

Each chunk of the text is scored first, and then learned from by one step of gradient descent, so
that the next chunk is scored by a net that knows what the text is about (Mikolov et al. 2010;
Krause et al. 2018):

w <- w - rate * dL/dw + decay * (w0 - w)

where L is the mean of -log p over the chunk's tokens, its gradient clipped to a largest norm, and
w0 the trained weights. Only what was scored before is learned from, so that the result is the
probability of the whole text. The order of the sentences matters, and the trained model stays as
it is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError, UnrolledError
from unrolled.language_models.protocol import LOWEST, LanguageModel, TextScorer
from unrolled.neural.cells import State
from unrolled.neural.model import AdaptedNet
from unrolled.neural.output_layers import FullSoftmax, OutputLayer
from unrolled.neural.streams import Batch, in_order, steps_of
from unrolled.runtime.memory import keep_freed_memory
from unrolled.text.vocabulary import UNK

Array = np.ndarray[Any, Any]

RATE = 0.3
CHUNK_STEPS = 20


class DynamicModel(AdaptedNet):
    """A net under dynamic evaluation, as a language model.

    The net learns from running text only. Separate sentences and single steps have the
    probabilities of the trained net.

    Args:
        model: a net, a `NeuralModel`.
        rate: of gradient descent, per mean gradient of a token.
        chunk_steps: tokens that are scored before they are learned from.
        clip_norm: largest norm of the gradient; 0 for any.
        decay: share of the way back to the trained weights that each step goes.

    Raises:
        SettingError: the model is no net, or a setting is not allowed.
    """

    kind, kind_name = "dynamic", "a net under dynamic evaluation"

    def __init__(
        self,
        model: LanguageModel,
        *,
        rate: float = RATE,
        chunk_steps: int = CHUNK_STEPS,
        clip_norm: float = 1.0,
        decay: float = 0.0,
    ) -> None:
        if not 0 < rate < math.inf:
            raise SettingError(f"rate is {rate}, allowed are numbers above 0")
        if chunk_steps < 1:
            raise SettingError(f"chunk_steps is {chunk_steps}, allowed are 1 and more")
        if not 0 <= clip_norm < math.inf:
            raise SettingError(f"clip_norm is {clip_norm}, allowed are 0 and more")
        if not 0 <= decay < 1:
            raise SettingError(f"decay is {decay}, allowed are 0 to below 1")
        super().__init__(model, "dynamic evaluation")
        self.rate, self.chunk_steps = rate, chunk_steps
        self.clip_norm, self.decay = clip_norm, decay

    @property
    def name(self) -> str:
        """The net's with ``-dynamic``."""
        return f"{self.model.name}-dynamic"

    def text_log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) of a running text, learned from on the way; float32.

        Every call begins with the trained weights.

        Raises:
            UnrolledError: the weights grow beyond all bounds.
        """
        return self.text_scorer()(ids)

    def text_scorer(self, progress: Callable[[int], None] | None = None) -> TextScorer:
        """A scorer of the parts of one text; each continues with what was learned before it."""
        return _Learner(self, progress).score


class _Learner:
    """A copy of a net that scores text and learns from it."""

    def __init__(
        self, settings: DynamicModel, progress: Callable[[int], None] | None = None
    ) -> None:
        keep_freed_memory()
        self._settings = settings
        self._trained = settings.model.net
        self._net = copy.deepcopy(settings.model.net).requires_grad_(True).eval()
        self._state: State = ()
        self._progress = progress or (lambda tokens: None)
        self._tokens = 0

    def score(self, ids: Array) -> Array:
        """Log-probabilities of ids (T,), which follow on those of the call before."""
        known = (ids >= 0) & (ids < len(self._settings.vocabulary))
        steps = steps_of(np.where(known, ids, UNK))
        scores = np.zeros(ids.size, np.float32)
        apart = self._net.config.reset_state_per_sentence
        for batch in in_order(steps, self._settings.chunk_steps, apart):
            if batch.fresh and apart:
                self._state = ()
            numbers = batch.steps[:, 0]
            scores[steps.places[numbers]] = self._score_and_learn(batch)
            self._progress(numbers.size)
        return scores

    @torch.enable_grad()
    def _score_and_learn(self, batch: Batch) -> Array:
        net = self._net
        words, targets = (torch.from_numpy(part).to(net.vectors.device)
                          for part in (batch.inputs, batch.targets[:, 0]))  # fmt: skip
        h, state = net(words, self._state or net.begin(1))
        scores = net.output.log_probs(h[:, 0].detach(), targets)
        loss = _exact_loss(net.output, h[:, 0], targets)
        # Where the weights overflow, one processor gives NaN and another a huge finite number.
        if not (float(loss.detach()) < -LOWEST and float(scores.detach().min()) > LOWEST):
            raise UnrolledError(
                f"the net's weights grew beyond all bounds after {self._tokens} words, "
                f"with a rate of {self._settings.rate:g}",
                hint="Try a lower --dynamic-rate",
            )
        loss.backward()
        self._state = tuple(part.detach() for part in state)
        self._learn()
        self._tokens += len(targets)
        result: Array = scores.float().cpu().numpy()
        return result

    @torch.no_grad()
    def _learn(self) -> None:
        """One step down the gradient, and a little way back to the trained weights."""
        given = self._settings
        if given.clip_norm:
            nn.utils.clip_grad_norm_(self._net.parameters(), given.clip_norm)
        for weight, trained in zip(self._net.parameters(), self._trained.parameters(), strict=True):
            if weight.grad is not None:
                weight.sub_(weight.grad, alpha=given.rate)
                weight.grad = None
            if given.decay:
                weight.lerp_(trained, given.decay)


def _exact_loss(layer: OutputLayer, h: Tensor, targets: Tensor) -> Tensor:
    """The loss over all words, of a layer that was trained on samples too."""
    if isinstance(layer, FullSoftmax):
        return FullSoftmax.loss(layer, h, targets)
    return layer.loss(h, targets)
