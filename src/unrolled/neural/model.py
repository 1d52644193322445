"""`NeuralModel`: a trained net as a language model like any other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import FormatError, SettingError
from unrolled.neural.cells import State
from unrolled.neural.config import NetConfig
from unrolled.neural.net import Net, build_net
from unrolled.neural.streams import Batch, Steps, by_sentence, contiguous_batches, steps_of
from unrolled.settings import stored_config, with_current_names
from unrolled.storage.model_file import ModelFile, arrays_under, load, write_model
from unrolled.text.vocabulary import BOS, UNK, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.corpus import TextOptions

Array = np.ndarray[Any, Any]
AnyNet = TypeVar("AnyNet", bound=nn.Module)

KIND = "net"
STRETCH = 64  # steps of text that are scored at a time
PART = 2000  # steps that a text must have for each part of it scored side by side
MOST_PARTS = 64


class NeuralModel:
    """A net and its vocabulary.

    In a running text the state is carried from sentence to sentence, unless the net was trained on
    independent sentences.
    """

    normalised = True

    def __init__(
        self,
        net: Net,
        vocabulary: Vocabulary,
        config: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        self.net = net.eval()
        self.vocabulary = vocabulary
        self.config = {**asdict(net.config), **(config or {})}
        self.provenance = dict(provenance or {})
        self.path = path

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

    @cached_property
    def text_options(self) -> TextOptions:
        """How the training text was cut into tokens; other text is cut alike.

        Raises:
            FormatError: the file asks for options that this version does not know.
        """
        from unrolled.text.tokens import stored_options

        return stored_options(self.config, self.path)

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) int, sentences as <s> words </s>; (T,) float32.

        Every sentence is scored by itself, from the start state.
        """
        steps = self._steps(ids)
        return self._scored(ids.size, steps, by_sentence(steps, MOST_PARTS, STRETCH))

    def text_log_probs(self, ids: Array) -> Array:
        """The same of a running text: a sentence is scored knowing those before it.

        A long text is cut into parts that are scored side by side; only the first words of a part
        do not know what was before. A net of independent sentences knows nothing before them.
        """
        if self.net.config.reset_state_per_sentence:
            return self.log_probs(ids)
        steps = self._steps(ids)
        parts = min(max(steps.inputs.size // PART, 1), MOST_PARTS)
        return self._scored(ids.size, steps, contiguous_batches(steps, parts, STRETCH))

    @torch.inference_mode()
    def all_log_probs(self, ids: Array) -> Iterator[Array]:
        """Log-probabilities of all words at each place of ids, in blocks (t, V) float32.

        Every sentence by itself; a <s> is a sure thing.
        """
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

    def _steps(self, ids: Array) -> Steps:
        return steps_of(np.clip(ids, 0, None) * (ids < len(self.vocabulary)))

    @torch.inference_mode()
    def _scored(self, size: int, steps: Steps, batches: Iterable[Batch]) -> Array:
        scores = np.zeros(size, np.float32)
        state: State = ()
        for batch in batches:
            if batch.fresh:
                state = self.net.begin(batch.inputs.shape[1])
            h, state = self.net(self._tensor(batch.inputs), state)
            real = batch.steps >= 0
            rows = h[self._tensor(real)]
            values = self.net.output.log_probs(rows, self._tensor(batch.targets[real]))
            scores[steps.places[batch.steps[real]]] = values.float().cpu().numpy()
        return scores

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.net.vectors.device)

    def start(self) -> State:
        """The state after <s>."""
        return self._after(self.net.begin(1), BOS)

    def advance(self, state: State, word: int) -> State:
        """The state after one more word; its last tensor is the net's output."""
        return self._after(state[:-1], word)

    @torch.inference_mode()
    def _after(self, before: State, word: int) -> State:
        h, after = self.net(self._tensor(np.array([[word]])), before)
        return (*after, h[0])

    @torch.inference_mode()
    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next; (V,) float32."""
        result: Array = self.net.output.distribution(state[-1])[0].float().cpu().numpy()
        return result

    def score(self, sentence: str) -> float:
        """Log-probability of one sentence, </s> included."""
        from unrolled.language_models.protocol import score_sentences

        return float(score_sentences(self, [sentence])[0])

    # -- storage ---------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.safetensors`` file; nothing is left behind when that fails."""
        write_model(path, **self.contents())
        self.path = os.fspath(path)

    def contents(self) -> dict[str, Any]:
        """What a file of this model holds, as `write_model` takes it."""
        arrays = parameter_arrays(self.net)
        arrays |= {f"vocabulary.{name}": array for name, array in self.vocabulary.arrays().items()}
        if self.net.class_of is not None:
            arrays["class_of"] = self.net.class_of
        return {
            "kind": KIND,
            "config": self.config,
            "arrays": arrays,
            "provenance": self.provenance,
        }

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by path: the receiver opens the same file."""
        if self.path is None:
            raise SettingError("a model is pickled by its path", hint="Save it to a file first")
        return load, (str(Path(self.path).absolute()),)

    def __repr__(self) -> str:
        return f"NeuralModel({self.name}, {self.parameters:,} parameters, path={self.path!r})"


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
        FormatError: settings make no net, or an array is missing or has another shape or type.
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
        array = file.array(f"net.{name}", np.float32, tuple(shape.shape))
        read[shape] = nn.Parameter(torch.from_numpy(np.array(array)), shape.requires_grad)
    for module in net.modules():  # parameters that modules share stay shared
        for name, shape in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            setattr(module, name, read[shape])
    return net
