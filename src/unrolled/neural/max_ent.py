"""Maximum-entropy n-gram features beside a net, hashed into one table (Mikolov et al. 2011b).

The score of a word (or of a class) after a context gets the sum over k of an entry of a table, at
a place that is a hash of the last k words, for k = 0 .. n - 1. The words of a class stand one
behind another, and so do the classes, so that a context's entries are contiguous in memory. As in
an n-gram model no context reaches back beyond ``<s>``.

The table has millions of entries, of which a batch uses few: `SparseAdagrad` moves it, and not the
net's optimiser.
# Differs from his toolkit: Adagrad in place of plain SGD, as a batch holds many tokens at once.

The words before reach the output layer as the last n - 1 columns of h, so that they are masked and
sliced with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.errors import SettingError
from unrolled.neural.max_ent_kernels import adagrad, adagrad_rows, add_features, collect
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]

NO_WORD = -1  # in place of a word before the beginning of a text
_ODD = -7046029254386353131  # 2^64 / golden ratio, as a signed number
_CLASSES = -1  # the group whose members are the classes


@dataclass(frozen=True)
class FeatureSlices:
    """Rows of scores, where their features are, and the gradients of the scores.

    Attributes:
        table: the weights. starts: (N, n) int64, see `max_ent_kernels`.
        offsets: (N + 1,) int64: row i has errors[offsets[i]:offsets[i + 1]].
        errors: derivatives of the loss by the scores, one row after another; or empty.
    """

    table: Array
    starts: Array
    offsets: Array
    errors: Array


class MaxEnt(nn.Module):
    """The table, and what it adds to scores.

    Args:
        size: entries of the table. order: n; features are of 1 to n words.
        words: V.

    Raises:
        SettingError: a table that is too small for the words, or an order below 1.
    """

    def __init__(self, size: int, order: int, words: int) -> None:
        super().__init__()
        if size < words:
            raise SettingError(
                f"maxent_size is {size}, allowed are 0 and numbers from {words}, the words, on"
            )
        if not 1 <= order <= 64:
            raise SettingError(f"maxent_order is {order}, allowed are 1 to 64")
        self.order = order
        self.table = nn.Parameter(torch.zeros(size), requires_grad=False)
        self.pending: list[tuple[FeatureSlices, float]] = []

    @property
    def columns(self) -> int:
        """Columns of h that hold words: n - 1."""
        return self.order - 1

    def split(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (N, E), and the words before (N, n - 1) int64, the last one at the end."""
        width = h.shape[-1] - self.columns
        return h[..., :width].contiguous(), h[..., width:].detach().long()

    def starts(self, context: Tensor, group: Tensor | int, span: Tensor | int) -> Tensor:
        """Where features begin, (..., n) int64, -1 for those that reach beyond a sentence's start.

        Args:
            context: (..., n - 1) words. group: number of the class, and -1 for classes themselves.
            span: how many entries are needed from there on. Both (...) or numbers.
        """
        room = len(self.table) - torch.as_tensor(span) + 1
        value = _mixed(torch.as_tensor(group, device=context.device) + 2)
        found = [(value % room).expand(torch.broadcast_shapes(value.shape, context.shape[:-1]))]
        known = torch.ones_like(found[0], dtype=torch.bool)
        for k in range(1, self.order):
            word = context[..., -k]
            known = known & (word >= 0)
            value = _mixed(value * _ODD + word + 1)
            found.append(torch.where(known, value % room, -1))
            known = known & (word != BOS)
        return torch.stack(torch.broadcast_tensors(*found), -1)

    def added(self, scores: Tensor, context: Tensor) -> Tensor:
        """Scores (N, M) of the classes, or of all words where there are none, with features."""
        starts = self.starts(context, _CLASSES, scores.shape[1])
        result: Tensor = _Added.apply(scores, self, starts.numpy())
        return result

    def of_words(
        self, context: Tensor, classes: Tensor, borders: Array, errors: bool
    ) -> FeatureSlices:
        """The features of the words of each row's class (N,), for `class_kernels`."""
        sizes = np.diff(borders)[classes.numpy()]
        starts = self.starts(context, classes, torch.from_numpy(sizes))
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        table = self.table.numpy()
        room = np.empty(offsets[-1] if errors else 0, table.dtype)
        return FeatureSlices(table, starts.numpy(), offsets, room)

    def with_all_words(
        self, scores: Tensor, context: Tensor, class_of: Tensor, places: Tensor
    ) -> Tensor:
        """Scores (N, V) of all words within their classes, with features.

        Args:
            class_of, places: (V,) class of each word, and its place there.
        """
        sizes = torch.bincount(class_of)
        starts = self.starts(context.unsqueeze(1), torch.arange(len(sizes)), sizes)  # (N, C, n)
        for k in range(self.order):
            begin = starts[:, class_of, k]
            values = self.table[(begin + places).clamp(min=0)]
            scores = scores + torch.where(begin >= 0, values, 0)
        return scores

    def record(self, slices: FeatureSlices, scale: float = 1.0) -> None:
        """Record gradients until the next step, in training."""
        if self.training:
            self.pending.append((slices, scale))


class _Added(torch.autograd.Function):
    """Scores plus features; backward records the gradients for the table."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From scores (N, M), a `MaxEnt` and starts (N, n)."""
        scores, ctx.max_ent, ctx.starts = given
        total: Tensor = scores.detach().clone()
        add_features(ctx.max_ent.table.numpy(), ctx.starts, total.numpy())
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Any) -> Any:
        errors = given[0].contiguous()
        offsets = np.arange(len(errors) + 1) * errors.shape[1]
        table = ctx.max_ent.table.numpy()
        flat = errors.detach().numpy().reshape(-1)
        ctx.max_ent.record(FeatureSlices(table, ctx.starts, offsets, flat))
        return errors, None, None


class SparseAdagrad:
    """Adagrad (Duchi et al. 2011) of a table, at the entries that a batch uses.

    Gradients are sums over tokens, and the sums of squares begin at 1: so an entry that is seldom
    used moves as under SGD, and one that is often used moves slower and slower.
    """

    def __init__(self, max_ent: MaxEnt) -> None:
        self.max_ent = max_ent
        self.squares = torch.ones_like(max_ent.table)
        self._gradient = torch.zeros_like(max_ent.table)

    def gradient(self, scale: float = 1.0) -> Tensor:
        """Gradient of all that is pending, of the table's size."""
        gradient = self._gradient.numpy()
        for part, factor in self.max_ent.pending:
            factor = gradient.dtype.type(scale * factor)
            collect(gradient, part.starts, part.offsets, part.errors, factor)
        return self._gradient

    def step(self, rate: float, tokens: int, group: Any) -> None:
        """Move the table, and forget what was pending.

        Args:
            tokens: of all batches since the last step, whose losses are means.
            group: the processes that train together; their gradients are summed, all entries.
        """
        gradient = self.gradient(tokens).numpy()
        table, squares = self.max_ent.table.numpy(), self.squares.numpy()
        rate = table.dtype.type(rate)
        if group.size > 1:
            group.sum_tensor(self._gradient)
            adagrad(table, squares, gradient, np.int64(0), np.int64(len(table)), rate)
        else:
            for part, _ in self.max_ent.pending:
                adagrad_rows(table, squares, gradient, part.starts, part.offsets, rate)
        self.forget()

    def forget(self) -> None:
        """Drop what is pending."""
        self.max_ent.pending.clear()


def _mixed(value: Tensor) -> Tensor:
    """Numbers that hardly ever collide, from int64 ones; arithmetic wraps around."""
    value = (value ^ (value >> 32)) * _ODD
    value = (value ^ (value >> 29)) * _ODD
    return value ^ (value >> 32)
