"""Mixtures of taggers: several nets as one, such as those of several seeds; a tagger too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.language_models.mixture import checked_weights, in_brackets
from unrolled.language_models.word_alignment import united_words
from unrolled.storage.components import components_contents, components_of, understood
from unrolled.storage.model_file import ModelFile
from unrolled.tagging.data.batches import Packing
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.model import Tagger
from unrolled.tagging.net.crf import LinearChainCRF

Array = np.ndarray[Any, Any]


class TaggerMixture(Tagger):
    """Several taggers as one: p(y|x) = prod_i p_i(y|x)^a_i / Z(x), with weights of sum 1.

    These are the probabilities of a tagger whose scores of tags, and of transitions between them,
    are the means of theirs, so that the best tags, the n best ones and all probabilities are as
    exact as those of one tagger.

    Args:
        models: one or more, of the same tags; their words and nets may differ.
        weights: one for each; by default they are equal.
        provenance: where the mixture comes from.
        path: its file.

    Raises:
        SettingError: no tagger, taggers that do not fit together, other weights.

    >>> from unrolled import TaggedSentence, train_tagger
    >>> text = [TaggedSentence(("Ann", "ran"), ("B-PER", "O"))]
    >>> taggers = [train_tagger(text, hidden=4, epochs=1, seed=seed) for seed in (1, 2)]
    >>> TaggerMixture(taggers).name
    '2 x lstm-4-crf'
    """

    kind, kind_name = "tagger-mixture", "a mixture of taggers"

    def __init__(
        self,
        models: Sequence[Tagger],
        weights: Sequence[float] | Array | None = None,
        *,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        _check_taggers(models)
        super().__init__(provenance, path)
        self.models = tuple(models)
        equal = np.full(len(models), 1 / len(models))
        self.weights = checked_weights(equal if weights is None else weights, len(models))
        self.vocabulary = united_words([model.vocabulary for model in models])
        self.tags = models[0].tags
        self.crf = self._mean_crf()
        self._used = [number for number, weight in enumerate(self.weights) if weight > 0]

    def _mean_crf(self) -> LinearChainCRF | None:
        given = [model.crf for model in self.models if model.crf is not None]
        if not given:
            return None
        crf = LinearChainCRF(len(self.tags), self.tags.allowed())
        with torch.no_grad():
            for mean, *own in zip(
                crf.parameters(), *(one.parameters() for one in given), strict=True
            ):
                parts = zip(self.weights.tolist(), own, strict=True)
                mean.copy_(sum(weight * part.cpu() for weight, part in parts))
        return crf

    @property
    def name(self) -> str:
        """Of the taggers, such as ``4 x lstm-200-crf``."""
        counts = Counter(in_brackets(model.name) for model in self.models)
        return " + ".join(
            f"{count} x {name}" if count > 1 else name for name, count in counts.items()
        )

    @property
    def parameters(self) -> int:
        """Those of all taggers, and the weights."""
        return len(self.models) + sum(model.parameters for model in self.models)

    def to(self, device: str | torch.device) -> TaggerMixture:
        """Move all taggers to a device; see `Tagger.to`."""
        for model in self.models:
            model.to(device)
        return self

    # -- scores ----------------------------------------------------------------------------------

    def word_features(self, sentences: Sequence[TaggedSentence]) -> list[Any]:
        """What each tagger needs of words, if its weight is above 0."""
        return [self.models[number].word_features(sentences) for number in self._used]

    def tag_scores(
        self, sentences: Sequence[TaggedSentence], features: list[Any], packing: Packing
    ) -> Tensor:
        """Mean scores (N, K) of the tags of sentences, on the CPU; see `Tagger.tag_scores`."""
        scores = []
        for number, own in zip(self._used, features, strict=True):
            of_model = self.models[number].tag_scores(sentences, own, packing)
            scores.append(float(self.weights[number]) * of_model.cpu())
        return torch.stack(scores).sum(0)

    # -- storage ---------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints, with the taggers inside."""
        parts = zip(self.weights.tolist(), self.models, strict=True)
        return {
            **self.file_info(),
            "words": len(self.vocabulary),
            "tags": list(self.tags.names),
            "provenance": self.provenance,
            "models": [{"weight": weight, **model.info()} for weight, model in parts],
        }

    def contents(self) -> dict[str, Any]:
        """What a file of this model holds, as `write_model` takes it."""
        parts, arrays = components_contents(self.models)
        return {
            "kind": self.kind,
            "config": {"weights": self.weights.tolist(), "models": parts},
            "arrays": arrays,
            "provenance": self.provenance,
        }

    @classmethod
    def from_file(cls, file: ModelFile) -> TaggerMixture:
        """The mixture of an opened file.

        Raises:
            FormatError: settings or a tagger inside it that make no sense.
        """
        with understood(file):
            return cls(
                components_of(file, Tagger, "a mixture of taggers"),
                list(file.config["weights"]),
                provenance=file.provenance,
                path=str(file.path),
            )


def _check_taggers(models: Sequence[Tagger]) -> None:
    """Refuse taggers whose scores cannot be mixed.

    Raises:
        SettingError: no tagger, or other tags or another output layer than the first has.
    """
    if not models:
        raise SettingError("a mixture takes one tagger or more, not 0")
    first = models[0]
    for model in models[1:]:
        if _tags_of(model) != _tags_of(first):
            raise SettingError(
                f"the taggers have other tags: {', '.join(first.tags.names)} and "
                f"{', '.join(model.tags.names)}",
                hint="Mix taggers of the same tags and scheme",
            )
        if (model.crf is None) != (first.crf is None):
            raise SettingError(
                "a tagger with a CRF and one without cannot be mixed",
                hint="Train them with the same output_layer",
            )


def _tags_of(model: Tagger) -> tuple[list[str], str, str]:
    tags = model.tags
    return tags.names, tags.scheme, tags.output_scheme
