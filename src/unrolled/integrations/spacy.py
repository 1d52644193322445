"""A tagger in a spaCy pipeline: ``nlp.add_pipe("unrolled", config={"model": "names.safetensors"})``

spaCy finds the component through the package's entry point, once unrolled is installed; else import
this module first. Words are spaCy's own. Spans become ``doc.ents``, and none crosses a blank line
or the end of a sentence; tags that are no spans, such as parts of speech, become each token's
``tag_``. A pipeline that is saved holds the tagger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError
from unrolled.tagging.data.rows import sentences_of_doc
from unrolled.text.tokeniser import Token, sentences

try:
    import spacy.language as _spacy
except ImportError:  # only spaCy has a use for this module, but all modules can be imported
    _spacy = None  # type: ignore[assignment, unused-ignore]

if TYPE_CHECKING:
    from unrolled.tagging.model import Tagger

NAME = "unrolled"
_DEFAULTS = {"model": "", "overwrite": True, "empty_label": "SPAN"}
_FILE = "tagger.safetensors"


class SpacyTagger:
    """The component: takes documents and gives them back with entities or tags.

    Args:
        tagger: a tagger, or the path of its file, which `from_disk` does not need.
        overwrite: whether entities that are there already, and those of overlapping spans, give
            way; if not, they stay and only the others are added.
        empty_label: label of spans that have none (tags ``B`` and ``I`` without a hyphen).
    """

    def __init__(
        self, tagger: Tagger | str, *, overwrite: bool = True, empty_label: str = "SPAN"
    ) -> None:
        self._tagger = tagger
        self.overwrite = overwrite
        self.empty_label = empty_label

    @property
    def tagger(self) -> Tagger:
        """The tagger, read at the first use if only its path is known.

        Raises:
            FormatError: there is no such file, or it is not a tagger.
        """
        if isinstance(self._tagger, str):
            from unrolled.tagging.model import Tagger

            self._tagger = Tagger.load(self._tagger)
        return self._tagger

    def __call__(self, doc: Any) -> Any:
        """Tag one document."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Any], *, batch_size: int = 64) -> Iterator[Any]:
        """Tag documents, `batch_size` at a time, sentence by sentence."""
        waiting = iter(stream)
        while docs := list(islice(waiting, batch_size)):
            split = [_sentences(doc) for doc in docs]
            words = [[token.text for token in one] for parts in split for one in parts]
            results = iter(self.tagger.tag(words, confidences=False))
            for doc, parts in zip(docs, split, strict=True):
                self._annotate(doc, [(one, next(results)) for one in parts])
                yield doc

    def _annotate(self, doc: Any, results: list[tuple[list[Any], Any]]) -> None:
        if not self.tagger.tags.has_spans:
            for tokens, tagged in results:
                for token, tag in zip(tokens, tagged.tags, strict=True):
                    token.tag_ = tag
            return
        found = [
            (tokens[span.start].i, tokens[span.end - 1].i + 1, span.label or self.empty_label)
            for tokens, tagged in results
            for span in tagged.spans
        ]
        earlier = [] if self.overwrite else list(doc.ents)
        taken = {place for old in earlier for place in range(old.start, old.end)}
        new = [
            _span(doc, start, end, label)
            for start, end, label in found
            if taken.isdisjoint(range(start, end))
        ]
        doc.set_ents([*earlier, *new])

    def score(self, examples: Iterable[Any], **_: Any) -> dict[str, Any]:
        """What ``nlp.evaluate`` reports: scores of entities, or the accuracy of tags."""
        from spacy.scorer import Scorer, get_ner_prf

        found: dict[str, Any]
        if self.tagger.tags.has_spans:
            found = get_ner_prf(examples)
        else:
            found = Scorer.score_token_attr(examples, "tag")
        return found

    def to_disk(self, path: Any, *, exclude: Any = ()) -> None:
        """Write the tagger into a folder of the pipeline."""
        from unrolled.storage.model_file import write_model

        Path(path).mkdir(parents=True, exist_ok=True)
        write_model(Path(path) / _FILE, **self.tagger.contents())

    def from_disk(self, path: Any, *, exclude: Any = ()) -> SpacyTagger:
        """Read the tagger from a folder of the pipeline."""
        from unrolled.tagging.model import Tagger

        if (Path(path) / _FILE).is_file():  # pipelines of older versions hold only its path
            self._tagger = Tagger.load(Path(path) / _FILE)
        return self

    def to_bytes(self, *, exclude: Any = ()) -> bytes:
        """The tagger's file."""
        from unrolled.integrations.model_bytes import model_bytes

        return model_bytes(self.tagger)

    def from_bytes(self, data: bytes, *, exclude: Any = ()) -> SpacyTagger:
        """Read the tagger from `to_bytes`."""
        from unrolled.integrations.model_bytes import model_of_bytes
        from unrolled.storage.loading import require_kind
        from unrolled.tagging.model import Tagger

        self._tagger = require_kind(model_of_bytes(data), Tagger, "tagging")
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: the tagger's bytes instead of the tagger."""
        return {**self.__dict__, "_tagger": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.from_bytes(state["_tagger"])


def make_component(
    nlp: Any, name: str, model: str, overwrite: bool, empty_label: str
) -> SpacyTagger:
    """The factory that spaCy calls.

    Raises:
        SettingError: no model is named.
        FormatError: the file is not a tagger.
    """
    if not model:
        raise SettingError(
            "the pipe has no model", hint='Name one: add_pipe("unrolled", config={"model": FILE})'
        )
    pipe = SpacyTagger(model, overwrite=overwrite, empty_label=empty_label)
    # The file may lack where a saved pipeline is opened that brings the tagger in its own folder.
    if Path(model).exists():
        _ = pipe.tagger
    return pipe


def _sentences(doc: Any) -> list[list[Any]]:
    """The tokens of each sentence, as spaCy or else `tokeniser.sentences` finds it."""
    parts = sentences_of_doc(doc)
    if doc.has_annotation("SENT_START"):
        return parts
    found = []
    for tokens in parts:
        places = [Token(one.text, one.idx, one.idx + len(one.text)) for one in tokens]
        waiting = iter(tokens)
        found += [list(islice(waiting, len(part))) for part in sentences(doc.text, places)]
    return found


def _span(doc: Any, start: int, end: int, label: str) -> Any:
    from spacy.tokens import Span

    return Span(doc, start, end, label=label)


if _spacy is not None:
    _spacy.Language.factory(
        NAME,
        default_config=_DEFAULTS,
        assigns=["doc.ents", "token.tag"],
        default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "tag_acc": 1.0},
    )(make_component)
