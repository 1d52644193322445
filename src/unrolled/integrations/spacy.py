"""A tagger in a spaCy pipeline: ``nlp.add_pipe("unrolled", config={"model": "names.safetensors"})``

spaCy finds the component through the package's entry point, once unrolled is installed; else import
this module first. Words are spaCy's own. Spans become ``doc.ents``; tags that are no spans, such as
parts of speech, become each token's ``tag_``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError

try:
    import spacy.language as _spacy
except ImportError:  # only spaCy has a use for this module, but all modules can be imported
    _spacy = None  # type: ignore[assignment, unused-ignore]

if TYPE_CHECKING:
    from unrolled.tagging.model import Tagger

NAME = "unrolled"
_DEFAULTS = {"model": "", "overwrite": True, "empty_label": "SPAN"}


class SpacyTagger:
    """The component: takes documents and gives them back with entities or tags.

    Args:
        tagger: what tags.
        overwrite: whether entities that are there already, and those of overlapping spans, give
            way; if not, they stay and only the others are added.
        empty_label: label of spans that have none (tags ``B`` and ``I`` without a hyphen).
    """

    def __init__(
        self, tagger: Tagger, *, overwrite: bool = True, empty_label: str = "SPAN"
    ) -> None:
        self.tagger = tagger
        self.overwrite = overwrite
        self.empty_label = empty_label

    def __call__(self, doc: Any) -> Any:
        """Tag one document."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Any], *, batch_size: int = 64) -> Iterator[Any]:
        """Tag documents, so many at a time; sentence by sentence where they have sentences."""
        waiting = iter(stream)
        while docs := list(islice(waiting, batch_size)):
            pieces = [_pieces(doc) for doc in docs]
            words = [[token.text for token in piece] for parts in pieces for piece in parts]
            results = iter(self.tagger.tag(words, confidences=False))
            for doc, parts in zip(docs, pieces, strict=True):
                self._annotate(doc, [(piece, next(results)) for piece in parts])
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
        kept = [] if self.overwrite else list(doc.ents)
        taken = {place for old in kept for place in range(old.start, old.end)}
        new = [
            _span(doc, start, end, label)
            for start, end, label in found
            if taken.isdisjoint(range(start, end))
        ]
        doc.set_ents([*kept, *new])

    def to_disk(self, path: Any, *, exclude: Any = ()) -> None:
        """The model stays where it is: a pipeline's config holds its path."""

    def from_disk(self, path: Any, *, exclude: Any = ()) -> SpacyTagger:
        """As `to_disk`."""
        return self


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
    from unrolled.tagging.model import Tagger

    return SpacyTagger(Tagger.load(model), overwrite=overwrite, empty_label=empty_label)


def _pieces(doc: Any) -> list[list[Any]]:
    """The tokens of each sentence, or of the whole document, without those of white space."""
    parts = doc.sents if doc.has_annotation("SENT_START") else [doc]
    pieces = [[token for token in part if not token.is_space] for part in parts]
    return [piece for piece in pieces if piece]


def _span(doc: Any, start: int, end: int, label: str) -> Any:
    from spacy.tokens import Span

    return Span(doc, start, end, label=label)


if _spacy is not None:
    _spacy.Language.factory(NAME, default_config=_DEFAULTS, assigns=["doc.ents", "token.tag"])(
        make_component
    )
