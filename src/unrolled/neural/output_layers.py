"""Output layers: from a net's output h to log-probabilities of words, all behind one interface.

Each gives the loss of a batch for training, exact log-probabilities of given words, and the whole
next-word distribution. ``<s>`` is never predicted: its log-probability is -inf everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.errors import SettingError
from unrolled.neural.class_kernels import word_losses
from unrolled.neural.max_ent import FeatureSlices, MaxEnt
from unrolled.runtime.threads import run_short_slices
from unrolled.runtime.torch_threads import threads
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]

DISTRIBUTIONS = 256  # computed at a time for entropies
_MOST_SHARES = 8  # of a batch: more than threads, of which one may have to wait for a core
_WORTH_A_SHARE = 3_000_000  # multiplications, a fraction of a millisecond
_SMALL = 1 << 19  # weights of which each share can have gradients of its own
IMPOSSIBLE = -1e6  # nats, in place of log 0 where 0 log 0 is wanted


class OutputLayer(nn.Module):
    """What every output layer offers.

    Shapes: h (N, E) outputs of the net, targets (N,) int64 words.

    Attributes:
        max_ent: n-gram features beside h, which then has more columns, see `max_ent`; or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.max_ent: MaxEnt | None = None

    def split_context(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        """Outputs, and the words before if there are features of them."""
        return (h, None) if self.max_ent is None else self.max_ent.split(h)

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        """Mean of -log p(target | h) over the rows, a differentiable scalar."""
        raise NotImplementedError

    def log_probs(self, h: Tensor, targets: Tensor) -> Tensor:
        """Exact log p(target | h), (N,), without gradients."""
        raise NotImplementedError

    def distribution(self, h: Tensor) -> Tensor:
        """Exact log-probabilities of all words, (N, V)."""
        raise NotImplementedError

    def entropies(self, h: Tensor) -> Tensor:
        """Entropy of the next word in nats, (N,) float64, without gradients."""
        parts = [_negative_entropy(self.distribution(part)) for part in h.split(DISTRIBUTIONS)]
        return -torch.cat(parts).double()

    def init_unigram_bias(self, word_counts: Array) -> None:
        """Set the biases so that training begins at the unigram probabilities; (V,) counts."""


class FullSoftmax(OutputLayer):
    """p(w | h) = softmax(W h + b) over the whole vocabulary.

    Args:
        weight: (V, E), perhaps shared with the input vectors.
        rows: rows of h taken at a time, which bounds the memory of the (rows, V) scores.
    """

    forbidden: Tensor

    def __init__(self, weight: nn.Parameter, rows: int = 1024) -> None:
        super().__init__()
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(weight.shape[0]))
        self.rows = rows
        self.register_buffer("forbidden", _forbidden(weight), persistent=False)

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        rows = self.rows if h.device.type == "cpu" else max(h.shape[0], 1)
        parts = zip(h.split(rows), targets.split(rows), strict=True)
        sums = [
            nn.functional.cross_entropy(self._scores(part), words, reduction="sum")
            for part, words in parts
        ]
        return torch.stack(sums).sum() / len(targets)

    @torch.no_grad()
    def log_probs(self, h: Tensor, targets: Tensor) -> Tensor:
        parts = zip(h.split(self.rows), targets.split(self.rows), strict=True)
        return torch.cat([
            -nn.functional.cross_entropy(self._scores(part), words, reduction="none")
            for part, words in parts
        ])  # fmt: skip

    def distribution(self, h: Tensor) -> Tensor:
        return torch.log_softmax(self._scores(h), -1)

    def init_unigram_bias(self, word_counts: Array) -> None:
        _set_to_logarithms(self.bias, word_counts)

    def _scores(self, h: Tensor) -> Tensor:
        h, context = self.split_context(h)
        scores = nn.functional.linear(h, self.weight, self.bias + self.forbidden)
        if self.max_ent is None or context is None:
            return scores
        return self.max_ent.added(scores, context)


class ClassFactoredSoftmax(OutputLayer):
    """p(w | h) = p(c | h) p(w | c, h), c the class of w (Goodman 2001; Mikolov et al. 2011).

    A token costs C + (words of its class) scores instead of V. Tokens are sorted by class, so that
    each class's words are read once.

    Args:
        weight: (V, E), perhaps shared with the input vectors.
        class_of: (V,) int64 from `word_classes`.
    """

    class_of: Tensor
    forbidden: Tensor

    def __init__(self, weight: nn.Parameter, class_of: Array) -> None:
        super().__init__()
        classes = int(class_of.max()) + 1
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(weight.shape[0]))
        spread = 1 / math.sqrt(weight.shape[1])
        self.class_weight = nn.Parameter(torch.empty(classes, weight.shape[1]))
        nn.init.uniform_(self.class_weight, -spread, spread)
        self.class_bias = nn.Parameter(torch.zeros(classes))
        self.index = ClassIndex(class_of)
        self.all_classes = ClassIndex(np.zeros(classes, np.int64))
        class_tensor = torch.from_numpy(np.array(class_of, np.int64))
        self.register_buffer("class_of", class_tensor, persistent=False)
        self.register_buffer("forbidden", _forbidden(weight), persistent=False)

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        classes = self.class_of[targets]
        h, context = self.split_context(h)
        if self._by_kernel(h, context):
            of_class: Tensor = _WordLoss.apply(*self._of_classes(h, classes), None)
        else:
            of_class = nn.functional.cross_entropy(self._class_scores(h, context), classes)
        bias = self.bias + self.forbidden
        if h.device.type != "cpu":
            return of_class + self._masked(h, targets, classes, "mean")
        features = self._features(context, classes, True)
        of_word: Tensor = _WordLoss.apply(
            h, self.weight, bias, targets, classes, self.index, features
        )
        return of_class + of_word

    @torch.no_grad()
    def log_probs(self, h: Tensor, targets: Tensor) -> Tensor:
        classes = self.class_of[targets]
        h, context = self.split_context(h)
        if self._by_kernel(h, context):
            of_class = torch.from_numpy(_word_losses(*self._of_classes(h, classes), None, False)[0])
        else:
            scores = self._class_scores(h, context)
            of_class = nn.functional.cross_entropy(scores, classes, reduction="none")
        if h.device.type != "cpu":
            return -of_class - self._masked(h, targets, classes, "none")
        given = (h.contiguous(), self.weight, self.bias + self.forbidden)
        features = self._features(context, classes, False)
        losses = _word_losses(
            *given, targets, classes, self.index, features and features[1], False
        )[0]
        return -of_class - torch.from_numpy(losses)

    def _by_kernel(self, h: Tensor, context: Tensor | None) -> bool:
        """Whether the words' kernel takes the classes too, in half of the time of torch's products.

        It knows no features of classes, and many classes would take much memory, see `_SMALL`.
        """
        on_cpu = h.device.type == "cpu"
        return on_cpu and context is None and self.class_weight.numel() <= _SMALL

    def _of_classes(
        self, h: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, ClassIndex]:
        """What `_word_losses` takes: all classes are as the words of a single one."""
        one = torch.zeros_like(classes)
        return h.contiguous(), self.class_weight, self.class_bias, classes, one, self.all_classes

    def _class_scores(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        scores = nn.functional.linear(h, self.class_weight, self.class_bias)
        if self.max_ent is None or context is None:
            return scores
        return self.max_ent.added(scores, context)

    def _features(
        self, context: Tensor | None, classes: Tensor, errors: bool
    ) -> tuple[MaxEnt, FeatureSlices] | None:
        """The n-gram features of the words of these classes, if there are any."""
        if self.max_ent is None or context is None:
            return None
        return self.max_ent, self.max_ent.of_words(context, classes, self.index.borders, errors)

    def _masked(self, h: Tensor, targets: Tensor, classes: Tensor, reduction: str) -> Tensor:
        """On a device with no kernel of ours: one matrix product, then all other classes masked."""
        scores = nn.functional.linear(h, self.weight, self.bias + self.forbidden)
        others = self.class_of.unsqueeze(0) != classes.unsqueeze(1)
        scores = scores.masked_fill(others, -math.inf)
        return nn.functional.cross_entropy(scores, targets, reduction=reduction)

    def distribution(self, h: Tensor) -> Tensor:
        h, context = self.split_context(h)
        of_class = torch.log_softmax(self._class_scores(h, context), -1)
        words = nn.functional.linear(h, self.weight, self.bias + self.forbidden)
        if self.max_ent is not None and context is not None:
            places = torch.from_numpy(self.index.places)
            words = self.max_ent.with_all_words(words, context, self.class_of, places)
        totals = _log_totals(words, self.class_of, len(self.class_bias))
        return words + (of_class - totals)[:, self.class_of]

    @torch.no_grad()
    def entropies(self, h: Tensor) -> Tensor:
        """H(w) = H(c) + sum_c p(c) H(w | c), which takes a third of the time."""
        if self.max_ent is not None:
            return super().entropies(h)
        members = torch.from_numpy(self.index.members).to(h.device)
        weight, bias = self.weight[members], (self.bias + self.forbidden)[members]
        sizes = np.diff(self.index.borders).tolist()
        found = []
        for rows in h.split(DISTRIBUTIONS):
            of_class = torch.log_softmax(self._class_scores(rows), -1)
            words = nn.functional.linear(rows, weight, bias).split(sizes, -1)
            of_words = [_negative_entropy(torch.log_softmax(part, -1)) for part in words]
            shares = of_class.exp() * torch.stack(of_words, -1)
            found.append(-(_negative_entropy(of_class) + shares.sum(-1)).double())
        return torch.cat(found)

    def init_unigram_bias(self, word_counts: Array) -> None:
        _set_to_logarithms(self.bias, word_counts)
        _set_to_logarithms(self.class_bias, np.bincount(self.class_of.cpu().numpy(), word_counts))


class ClassIndex:
    """Words sorted by class, as `class_kernels` takes them."""

    def __init__(self, class_of: Array) -> None:
        self.members = np.argsort(class_of, kind="stable")
        sizes = np.bincount(class_of)
        self.borders = np.concatenate([[0], np.cumsum(sizes)])
        self.places = np.empty(class_of.size, np.int64)
        self.places[self.members] = np.arange(class_of.size) - np.repeat(self.borders[:-1], sizes)


def _log_totals(scores: Tensor, class_of: Tensor, classes: int) -> Tensor:
    """log of the sum of exp(scores) (N, V) over the words of each class, (N, C)."""
    index = class_of.expand(len(scores), -1)
    top = scores.new_full((len(scores), classes), -math.inf)
    top = top.scatter_reduce(1, index, scores.detach(), "amax")
    shares = (scores - top.gather(1, index)).exp()
    return top + torch.zeros_like(top).scatter_add(1, index, shares).log()


class _WordLoss(torch.autograd.Function):
    """Mean of -log p(w | c, h) for autograd; the gradients are computed along with the losses."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From h, weight, bias, targets, classes and index, as `_word_losses` has them, and from
        the `MaxEnt` and its `FeatureSlices`, or None."""
        h, weight, bias, *rest, ctx.features = given
        needed, of_weights = any(ctx.needs_input_grad[:3]), any(ctx.needs_input_grad[1:3])
        ctx.rest = *rest, ctx.features and ctx.features[1], needed, of_weights
        h = h.contiguous()
        ctx.save_for_backward(h, weight, bias)
        losses, *ctx.gradients = _word_losses(h, weight, bias, *ctx.rest)
        return torch.tensor(losses.mean(dtype=np.float64), dtype=h.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Any) -> Any:
        saved = ctx.saved_tensors  # which torch checks: nothing was freed or changed
        # They are given away, so that the gradients by the input vectors are added to them in their
        # place. Seldom there is a second time.
        found, ctx.gradients = ctx.gradients or _word_losses(*saved, *ctx.rest)[1:], None
        returned = (True, *[ctx.rest[-1]] * 2)
        gradients: list[Any] = [
            torch.from_numpy(array) if wanted else None
            for array, wanted in zip(found, returned, strict=True)
        ]
        del found
        if ctx.features:
            max_ent, slices = ctx.features
            max_ent.record(slices, float(given[0]))
        if given[0] != 1:  # seldom; it takes a pass over (V, E)
            gradients = [part if part is None else part * given[0] for part in gradients]
        dh, dweight, dbias = gradients
        return dh, dweight, dbias, None, None, None, None


def _word_losses(
    h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, classes: Tensor, index: ClassIndex,
    features: FeatureSlices | None, gradients: bool, of_weights: bool = False,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Sort tokens by class, share them out among threads, and run the kernel.

    A share has whole classes; of a single class of few words it has some of the tokens, and its own
    gradients by the weights, which are summed in the end.

    Returns losses (N,), and the gradients of their mean by h (N, E), weight (V, E), bias (V,): the
    first if ``gradients``, the others if ``of_weights`` too.
    """
    outputs, rows, biases, words, kinds = (
        tensor.detach().numpy() for tensor in (h, weight, bias, targets, classes)
    )
    sizes = np.diff(index.borders)
    counts = np.bincount(kinds, minlength=sizes.size)
    tokens = np.argsort(kinds, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)])
    order = np.argsort(-counts * sizes, kind="stable")
    if not of_weights:
        order = order[counts[order] > 0]
    products = int((counts * sizes).sum()) * outputs.shape[1]
    count = max(min(_MOST_SHARES, products // _WORTH_A_SHARE), 1)
    by_tokens = sizes.size == 1 and rows.size <= _SMALL
    parts = count if by_tokens else 1
    losses = np.empty(words.size, outputs.dtype)
    dh = np.empty((len(outputs) if gradients else 0, outputs.shape[1]), outputs.dtype)
    dweight = np.empty((parts, len(rows) if of_weights else 0, rows.shape[1]), rows.dtype)
    dbias = np.zeros((parts, biases.size), biases.dtype)
    if by_tokens:
        ends = np.linspace(0, words.size, count + 1).astype(np.int64)
        shares = [(order, ends[k : k + 2], dweight[k], dbias[k]) for k in range(count)]
    else:
        own = [np.ascontiguousarray(order[k::count]) for k in range(count)]
        shares = [(part, first, dweight[0], dbias[0]) for part in own if part.size]
    layout = index.members, index.borders, index.places
    if features is None:
        none = np.zeros(0, np.int64)
        features = FeatureSlices(biases[:0], np.zeros((words.size, 0), np.int64), none, biases[:0])
    beside = features.table, features.starts, features.offsets, features.errors
    scale = outputs.dtype.type(1 / max(words.size, 1))
    run_short_slices(
        word_losses,
        [
            (
                outputs, words, tokens, begins, part, *layout, rows, biases, *beside, scale, losses,
                dh, *sums,
            )
            for part, begins, *sums in shares
        ],
        threads(),
    )  # fmt: skip
    if parts > 1:
        return losses, dh, dweight.sum(0), dbias.sum(0)
    return losses, dh, dweight[0], dbias[0]


class AdaptiveSoftmax(OutputLayer):
    """Frequent words first, rare ones in narrower clusters (Grave et al. 2017).

    Args:
        width: E. size: V. cutoffs: where clusters begin, ascending; torch's implementation.

    Raises:
        SettingError: cut-offs that do not ascend within the vocabulary.
    """

    def __init__(self, width: int, size: int, cutoffs: list[int] | None = None) -> None:
        super().__init__()
        given = cutoffs or [cut for cut in (2000, 10_000, 40_000) if cut < size - 2]
        given = given if given else [max((size - 1) // 2, 1)]
        try:  # without <s>, which is never predicted
            self.layer = nn.AdaptiveLogSoftmaxWithLoss(width, size - 1, given, head_bias=True)
        except ValueError as error:
            raise SettingError(f"cut-offs {given} do not fit {size} words: {error}") from None

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        result: Tensor = self.layer(h, _without_bos(targets)).loss
        return result

    @torch.no_grad()
    def log_probs(self, h: Tensor, targets: Tensor) -> Tensor:
        result: Tensor = self.layer(h, _without_bos(targets)).output
        return result

    def distribution(self, h: Tensor) -> Tensor:
        found: Tensor = self.layer.log_prob(h)
        none = found.new_full((len(found), 1), -math.inf)
        return torch.cat([found[:, :BOS], none, found[:, BOS:]], 1)


def _negative_entropy(log_probs: Tensor) -> Tensor:
    """Sum of p log p over the last axis."""
    logs = log_probs.float().clamp(min=IMPOSSIBLE)
    return (logs.exp() * logs).sum(-1)


def _without_bos(targets: Tensor) -> Tensor:
    return targets - (targets > BOS).to(targets.dtype)


@torch.no_grad()
def _set_to_logarithms(bias: Tensor, counts: Array) -> None:
    """log of relative frequencies; half a count more, for what never came."""
    smoothed = np.asarray(counts, np.float64) + 0.5
    bias.copy_(torch.from_numpy(np.log(smoothed / smoothed.sum())))


def _forbidden(weight: Tensor) -> Tensor:
    """(V,) what is added to the scores: -inf at <s>, which is never predicted."""
    mask = torch.zeros(weight.shape[0], dtype=weight.dtype, device="cpu")  # `read_net` has meta
    mask[BOS] = -math.inf
    return mask
