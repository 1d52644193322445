"""`NeuralModel`: a trained net as a language model like any other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import FormatError, SettingError
from unrolled.language_models.protocol import LanguageModel, TextScorer
from unrolled.language_models.state_rows import Layout, known_words, pack_rows, unpack_rows
from unrolled.neural.cells import State
from unrolled.neural.config import NetConfig
from unrolled.neural.net import Net, build_net
from unrolled.neural.streams import Batch, Steps, by_sentence, contiguous_batches, steps_of
from unrolled.runtime.torch_threads import set_threads
from unrolled.settings import stored_config, with_current_names
from unrolled.storage.loading import require_kind
from unrolled.storage.model_file import ModelFile, arrays_under, prefixed
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

Array = np.ndarray[Any, Any]
AnyNet = TypeVar("AnyNet", bound=nn.Module)

CHUNK_STEPS = 64  # steps of text that are scored at a time
MIN_PART_STEPS = 2000  # of each part of a text that is scored in parallel
MAX_PARTS = 64
BEAM_ROWS = 128  # distributions over the vocabulary held at a time


class NeuralModel(LanguageModel):
    """A net and its vocabulary.

    In a running text the state is carried from sentence to sentence, unless the net was trained on
    independent sentences.
    """

    kind, kind_name = "net", "a net"

    def __init__(
        self,
        net: Net,
        vocabulary: Vocabulary,
        config: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(vocabulary, {**asdict(net.config), **(config or {})}, provenance, path)
        self.net = net.eval()

    @property
    def name(self) -> str:
        """Cell and width, such as ``lstm-256``."""
        config = self.net.config
        name = f"{config.cell}-{config.hidden}"
        return f"{name}x{config.layers}" if config.layers > 1 else name

    @property
    def parameters(self) -> int:
        """Numbers that were trained."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    @property
    def carries_context(self) -> bool:
        """Unless the net was trained on independent sentences."""
        return not self.net.config.reset_state_per_sentence

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) int, sentences as <s> words </s>; (T,) float32.

        Every sentence is scored by itself, from the start state.
        """
        return self._apart(ids)

    def text_log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) of a running text; (T,) float32.

        A long text is split into parts that are scored in parallel; only the first words of a part
        do not know what was before. A net of independent sentences knows nothing before them.
        """
        return self.text_scorer()(ids)

    def text_scorer(self, progress: Callable[[int], None] | None = None) -> TextScorer:
        """Scores the parts of one text; each begins from the start state."""

        def score(ids: Array) -> Array:
            if not self.carries_context:
                return self._apart(ids, progress)
            steps = self._steps(ids)
            parts = min(max(steps.inputs.size // MIN_PART_STEPS, 1), MAX_PARTS)
            batches = contiguous_batches(steps, parts, CHUNK_STEPS)
            return self._scored(ids.size, steps, batches, progress)

        return score

    @contextlib.contextmanager
    def use_threads(self, threads: int) -> Iterator[int]:
        """Limit the net's threads; one text at a time uses them all."""
        before = torch.get_num_threads()
        set_threads(threads)
        try:
            yield 1
        finally:
            set_threads(before)

    @torch.inference_mode()
    def all_log_probs(self, ids: Array) -> Iterator[Array]:
        """The distribution at each place of ids (T,), a sentence at a time: (t, V) float32."""
        starts = np.flatnonzero(ids == BOS)
        for low, high in pairwise([*starts.tolist(), ids.size]):
            rows = np.full((high - low, len(self.vocabulary)), -np.inf, np.float32)
            rows[0, BOS] = 0
            words = np.clip(ids[low : high - 1], 0, None)
            if words.size:
                inputs = self._tensor(words.astype(np.int64)[:, None])
                h, _ = self.net(inputs, self.net.begin(1))
                rows[1:] = self.net.output.distribution(h[:, 0]).float().cpu().numpy()
            yield rows

    def entropies(self, ids: Array) -> Array:
        """Entropy of the distribution at each place of ids (T,), in nats; (T,) float64."""
        return self.log_probs_and_entropies(ids)[1]

    def log_probs_and_entropies(self, ids: Array) -> tuple[Array, Array]:
        """Both `log_probs` and `entropies`, from one pass of the net."""
        steps = self._steps(ids)
        batches = by_sentence(steps, MAX_PARTS, CHUNK_STEPS)
        both = self._of_outputs(ids.size, steps, batches, self._both, columns=2)
        return both[:, 0].astype(np.float32), both[:, 1]

    def _both(self, h: Tensor, targets: Tensor) -> Tensor:
        output = self.net.output
        return torch.stack([output.log_probs(h, targets).double(), output.entropies(h)], 1)

    def text_entropies(self, ids: Array) -> Array:
        """As `entropies`, with the state carried from sentence to sentence."""
        if not self.carries_context:
            return self.entropies(ids)
        steps = self._steps(ids)
        batches = contiguous_batches(steps, 1, CHUNK_STEPS)
        return self._of_outputs(ids.size, steps, batches, self._both, columns=2)[:, 1]

    def _apart(self, ids: Array, progress: Callable[[int], None] | None = None) -> Array:
        """Scores of sentences, of about equal length at a time."""
        steps = self._steps(ids)
        return self._scored(ids.size, steps, by_sentence(steps, MAX_PARTS, CHUNK_STEPS), progress)

    def _steps(self, ids: Array) -> Steps:
        return steps_of(np.clip(ids, 0, None) * (ids < len(self.vocabulary)))

    def _scored(
        self,
        size: int,
        steps: Steps,
        batches: Iterable[Batch],
        progress: Callable[[int], None] | None,
    ) -> Array:
        def log_probs(h: Tensor, targets: Tensor) -> Tensor:
            return self.net.output.log_probs(h, targets)[:, None]

        scores = self._of_outputs(size, steps, batches, log_probs, progress=progress)
        return scores[:, 0].astype(np.float32)

    @torch.inference_mode()
    def _of_outputs(
        self,
        size: int,
        steps: Steps,
        batches: Iterable[Batch],
        function: Callable[[Tensor, Tensor], Tensor],
        *,
        columns: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> Array:
        """A function of the net's outputs (N, E) and the targets (N,) at each place.

        It gives (N, columns) for N places; the result is (size, columns) float64.
        """
        scores = np.zeros((size, columns))
        state: State = ()
        for batch in batches:
            if batch.fresh:
                state = self.net.begin(batch.inputs.shape[1])
            h, state = self.net(self._tensor(batch.inputs), state)
            real = batch.steps >= 0
            rows = h[self._tensor(real)]
            values = function(rows, self._tensor(batch.targets[real]))
            scores[steps.places[batch.steps[real]]] = values.double().cpu().numpy()
            if progress is not None:
                progress(len(values))
        return scores

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.net.vectors.device)

    def start(self) -> State:
        """The state after <s>."""
        return self._after(self.net.begin(1), BOS)

    def advance(self, state: State, word: int) -> State:
        """The state after one more word; its last tensor is the net's output.

        After </s>, which nets never read, <s> goes on with the next sentence.
        """
        return state if word == EOS else self._after(state[:-1], word)

    @torch.inference_mode()
    def _after(self, before: State, word: int) -> State:
        h, after = self.net(self._tensor(np.array([[word]])), before)
        return (*after, h[0])

    @torch.inference_mode()
    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next; (V,) float32."""
        result: Array = self.net.output.distribution(state[-1])[0].float().cpu().numpy()
        return result

    # -- many hypotheses at once -----------------------------------------------------------------

    def start_states(self, count: int = 1) -> Array:
        """States after <s>, (count, S) uint8: the tensors of `start`."""
        return np.repeat(pack_rows([_plain(part) for part in self.start()]), count, axis=0)

    @cached_property
    def _layout(self) -> Layout:
        return [
            (np.dtype(np.float32 if part.is_floating_point() else np.int64), part.shape[1])
            for part in self.start()
        ]

    @torch.inference_mode()
    def extend(self, states: Array, words: Array) -> tuple[Array, Array]:
        """Advance each state by its word, all in one step of the net."""
        ids = self._tensor(known_words(words, len(self.vocabulary), states.shape[:1]))
        *before, h = map(self._tensor, unpack_rows(states, self._layout))
        if not len(states):
            return states.copy(), np.zeros(0, np.float32)
        scores = self.net.output.log_probs(h, ids).float().cpu().numpy()
        scores[words == BOS] = -np.inf
        outputs, after = self.net(ids[None], tuple(before))
        parts = (*after, outputs[0])
        return pack_rows([_plain(part) for part in parts]), scores

    @torch.inference_mode()
    def score_beams(self, states: Array, words: Array) -> Array:
        """Log-probabilities of words (N, K) after each state, some rows at a time."""
        ids = known_words(words, len(self.vocabulary), (len(states), 1))
        h = self._tensor(unpack_rows(states, self._layout)[-1])
        scores = np.empty(ids.shape, np.float32)
        for low in range(0, len(ids), BEAM_ROWS):
            rows = self.net.output.distribution(h[low : low + BEAM_ROWS]).float().cpu().numpy()
            scores[low : low + BEAM_ROWS] = np.take_along_axis(rows, ids[low : low + BEAM_ROWS], 1)
        return scores

    # -- storage ---------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints, with how many classes words are in."""
        info, class_of = super().info(), self.net.class_of
        if self.net.config.output_layer == "classes" and class_of is not None:
            info["classes"] = int(class_of.max()) + 1
        return info

    def arrays(self) -> dict[str, Any]:
        """The arrays of its file by name."""
        arrays = parameter_arrays(self.net) | prefixed("vocabulary.", self.vocabulary.arrays())
        if self.net.class_of is not None:
            arrays["class_of"] = self.net.class_of
        return arrays

    @classmethod
    def from_file(cls, file: ModelFile) -> NeuralModel:
        """Model of an opened file.

        Raises:
            FormatError: arrays or settings that are missing or contradict each other.
        """
        where = str(file.path)
        vocabulary = Vocabulary.from_arrays(arrays_under("vocabulary.", file.arrays), where)
        settings = with_current_names(file.config, NetConfig)
        config = stored_config(settings, NetConfig, where)
        class_of = None
        if config.output_layer == "classes":
            class_of = _checked_classes(file.array("class_of", np.int64), len(vocabulary), where)
        net = read_net(
            lambda: build_net(config, len(vocabulary), class_of), file, modules=config.layers
        )
        return cls(net, vocabulary, settings, file.provenance, where)

    def __repr__(self) -> str:
        return f"NeuralModel({self.name}, {self.parameters:,} parameters, path={self.path!r})"


class AdaptedNet(LanguageModel):
    """A net that adapts to a running text; sentences by themselves it scores as the net does.

    Raises:
        SettingError: the model is no net; ``purpose`` is what needs one.
    """

    carries_context = True

    def __init__(self, model: LanguageModel, purpose: str) -> None:
        super().__init__(model.vocabulary, model.config, path=model.path)
        self.model = require_kind(model, NeuralModel, purpose)

    @property
    def parameters(self) -> int:
        """Those of the net."""
        return self.model.parameters

    @property
    def unknown_types(self) -> int:
        """As of the net."""
        return self.model.unknown_types

    def use_threads(self, threads: int) -> contextlib.AbstractContextManager[int]:
        """Limit the net's threads."""
        return self.model.use_threads(threads)

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,), every sentence by itself; (T,) float32."""
        return self.model.log_probs(ids)

    def start(self) -> Any:
        """The state after <s>."""
        return self.model.start()

    def advance(self, state: Any, word: int) -> Any:
        """The state after one more word."""
        return self.model.advance(state, word)

    def next_log_probs(self, state: Any) -> Array:
        """Log-probability of every word as the next one, (V,) float32."""
        return self.model.next_log_probs(state)


def _plain(part: Tensor) -> Array:
    """A tensor of a state as float32 or int64."""
    values: Array = (part.float() if part.is_floating_point() else part).cpu().numpy()
    return values


def _checked_classes(class_of: Array, size: int, where: str) -> Array:
    """Classes that the kernels can work with: one a word, and none empty."""
    fits = class_of.size == size and class_of.min() == 0 and class_of.max() < size
    if not fits or np.any(np.bincount(class_of) == 0) or class_of[BOS] != class_of[UNK]:
        raise FormatError("the classes of the words are damaged", where=where)
    return np.array(class_of)


def parameter_arrays(net: nn.Module) -> dict[str, Array]:
    """Parameters as the arrays ``net.NAME`` of a file, float32, shared ones once."""
    return {
        f"net.{name}": parameter.detach().float().cpu().contiguous().numpy()
        for name, parameter in net.named_parameters()
    }


def read_net(build: Callable[[], AnyNet], file: ModelFile, *, modules: int) -> AnyNet:
    """Build a net whose parameters are the arrays ``net.NAME`` of a file.

    What the file's settings ask for may need any amount of memory and time. So the net is built on
    torch's meta device, where parameters have shapes only, and gets the arrays if they fit.

    Args:
        modules: how many layers or tables of their own ``build`` makes; each has an array or more.

    Raises:
        FormatError: settings make no net, or an array is missing, has another shape or type, or
            holds NaN or infinities.
    """
    where = str(file.path)
    if modules > len(file.arrays):
        raise FormatError(
            f"the settings ask for {modules:,} layers, and the file has {len(file.arrays)} arrays",
            where=where,
        )
    try:
        with torch.device("meta"):
            net = build()
    except (TypeError, ValueError, OverflowError, RuntimeError, SettingError) as error:
        raise FormatError(f"the settings make no net: {error}", where=where) from None
    read = {}
    for name, shape in net.named_parameters():
        array = torch.from_numpy(np.array(file.array(f"net.{name}", np.float32, (*shape.shape,))))
        # The sum is finite if all numbers are, and takes less time than a look at each.
        if not array.sum().isfinite() and not array.isfinite().all():
            raise FormatError(
                "it holds NaN or infinite numbers: the file is damaged or the training diverged",
                where=f"{where}, array 'net.{name}'",
                hint="Train the net again, with a lower rate",
            )
        read[shape] = nn.Parameter(array, shape.requires_grad)
    for module in net.modules():  # parameters that modules share stay shared
        for name, shape in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            setattr(module, name, read[shape])
    return net
