"""`NeuralTagger`: the tagger that `train_tagger` gives, a net with its words and tags."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import TextError
from unrolled.neural.model import parameter_arrays
from unrolled.storage.model_file import prefixed
from unrolled.tagging.data.batches import Packing
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.features import Columns, Forms, Lexicon
from unrolled.tagging.data.known_words import KnownWords
from unrolled.tagging.data.tags import TagSet
from unrolled.tagging.model import Tagger
from unrolled.tagging.net.language_states import LanguageStates
from unrolled.tagging.net.network import TaggerNet
from unrolled.tagging.net.vectors import VectorTable
from unrolled.training.devices import device_of

Array = np.ndarray[Any, Any]


class NeuralTagger(Tagger):
    """A net, its words and its tags.

    Args:
        net: the net. lexicon, vectors: its words and their vectors.
        characters: character -> id. columns: values of further columns. tags: the tags.
        language: a language model that the net reads the states of.
    """

    kind, kind_name = "tagger", "a tagger of one net"

    def __init__(
        self,
        net: TaggerNet,
        lexicon: Lexicon,
        vectors: VectorTable,
        characters: Mapping[str, int],
        columns: Columns,
        tags: TagSet,
        *,
        language: LanguageStates | None = None,
        settings: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(provenance, path)
        self.net, self.crf = net.eval(), net.crf
        self.lexicon, self.vectors = lexicon, vectors
        self.vocabulary = lexicon.vocabulary
        self.characters, self.columns, self.tags = dict(characters), columns, tags
        self.config, self.language = net.config, language
        self.settings = dict(settings or {})
        self._known = KnownWords(net.token_width)
        self._process = os.getpid()

    @property
    def name(self) -> str:
        """Cell, width and output, such as ``lstm-200-crf``."""
        config = self.config
        layers = f"x{config.layers}" if config.layers != 1 else ""
        return f"{config.cell}-{config.hidden}{layers}-{config.output_layer}"

    @property
    def parameters(self) -> int:
        """Numbers that were trained: of the net, and of word vectors."""
        trained = sum(parameter.numel() for parameter in self.net.parameters())
        return trained + self.vectors.trained.size

    @property
    def device(self) -> torch.device:
        """Where the net computes."""
        return self.net.output.weight.device

    def to(self, device: str | torch.device) -> NeuralTagger:
        """Move the net to a device; see `Tagger.to`."""
        where = device_of(device)
        self.net.to(where)
        if self.language is not None:
            self.language.model.net.to(where)
        self.forget()
        return self

    # -- scores ----------------------------------------------------------------------------------

    def word_features(self, sentences: Sequence[TaggedSentence]) -> Array:
        """Features (N, D) of words, which do not depend on their sentences."""
        if self._process != os.getpid():  # another thread may have been changing them at the fork
            self._process, self._known = os.getpid(), KnownWords(self.net.token_width)
        words = [word for sentence in sentences for word in sentence.words]
        return self._known.rows(words, self._token_rows)

    def tag_scores(
        self, sentences: Sequence[TaggedSentence], features: Array, packing: Packing
    ) -> Tensor:
        """Scores (N, K) of the tags of sentences; see `Tagger.tag_scores`."""
        tokens = torch.from_numpy(features).to(self.device)
        scores: Tensor = self.net(
            tokens, self.column_ids(sentences), packing, self.states(sentences)
        )
        return scores

    # -- inputs ----------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drop cached values of words: parameters have changed."""
        self._known.forget()

    def _token_rows(self, words: list[str]) -> Array:
        forms = Forms(words, self.lexicon, self.characters)
        letters = forms.letters(np.arange(len(words)), self.net.borders)
        vectors = torch.from_numpy(self.vectors.take(forms.words)).to(self.device)
        with torch.no_grad():
            rows: Array = self.net.tokens(vectors, forms.shapes, letters).cpu().numpy()
        return rows

    def column_ids(self, sentences: Sequence[TaggedSentence]) -> list[Array]:
        """Ids (N,) of the values of each further column.

        Raises:
            TextError: a sentence lacks a column.
        """
        return [
            self.columns.ids(rank, _column(sentences, column))
            for rank, column in enumerate(self.config.columns)
        ]

    def states(self, sentences: Sequence[TaggedSentence]) -> Array | None:
        """States (N, W) of the language model, if there is one."""
        if self.language is None:
            return None
        return self.language.rows([sentence.words for sentence in sentences])

    # -- storage ---------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints: sizes, tags, settings, where the tagger comes from."""
        return {
            **self.file_info(),
            "words": len(self.vocabulary),
            "tags": list(self.tags.names),
            "settings": self.settings,
            "provenance": self.provenance,
        }

    def contents(self) -> dict[str, Any]:
        """What a file of this model holds, as `write_model` takes it."""
        arrays = parameter_arrays(self.net)
        arrays |= {"vectors.trained": self.vectors.trained, "vectors.given": self.vectors.given}
        arrays |= prefixed("words.", self.lexicon.vocabulary.arrays())
        config = {
            **asdict(self.config),
            "columns": list(self.config.columns),
            "tags": self.tags.names,
            "tag_scheme": self.tags.scheme,
            "output_scheme": self.tags.output_scheme,
            "known_characters": list(self.characters),
            "column_values": self.columns.values,
            **self.settings,
        }
        if self.language is not None:
            own = self.language.model.contents()
            config["language_model"] = own["config"]
            arrays |= prefixed("language.", own["arrays"])
        return {
            "kind": self.kind,
            "config": config,
            "arrays": arrays,
            "provenance": self.provenance,
        }

    def __repr__(self) -> str:
        return f"NeuralTagger({self.name}, {len(self.tags)} tags, {self.parameters:,} parameters)"


def _column(sentences: Sequence[TaggedSentence], column: int) -> list[str]:
    values: list[str] = []
    for sentence in sentences:
        if column >= len(sentence.columns):
            raise TextError(
                f"the tagger reads column {column} beside words and tags, and the sentence has "
                f"{len(sentence.columns)}",
                where=sentence.place or None,
                hint="Give it sentences in columns, as in training: --input columns",
            )
        values += sentence.columns[column]
    return values
