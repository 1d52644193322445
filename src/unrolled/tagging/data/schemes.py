"""Spans as tags of any scheme, read as conlleval or strictly, and converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.notation import (
    OUTSIDE,
    Notation,
    find_form,
    notation_named,
)

Policy = Literal["conlleval", "strict"]
# Prefixes of canonical tags.
PREFIXES: dict[str, str] = {
    "IO": "IO", "IOB1": "BIO", "BIO": "BIO", "IOE1": "EIO", "IOE2": "EIO", "IOBES": "BEIOS",
}  # fmt: skip
_BROKEN_SHARE = 10  # one span in ten may be broken in tags that are taken for IOBES


class Span(NamedTuple):
    """Words `start` to `end` (without it), with a label; the label of plain ``B``, ``I`` is ""."""

    start: int
    end: int
    label: str


def split_tag(tag: str) -> tuple[str, str]:
    """The prefix and label of a tag, cut at the first hyphen as conlleval does.

    >>> split_tag("B-geo-loc"), split_tag("I"), split_tag("O")
    (('B', 'geo-loc'), ('I', ''), ('O', ''))
    """
    prefix, _, label = tag.partition("-")
    return prefix, label


def join_tag(prefix: str, label: str) -> str:
    """The tag of a prefix and label.

    >>> join_tag("B", "PER"), join_tag("B", ""), join_tag("O", "")
    ('B-PER', 'B', 'O')
    """
    return f"{prefix}-{label}" if label and prefix != "O" else prefix


def detect_scheme(
    sentences: Iterable[Sequence[str]], *, places: Sequence[str] | None = None
) -> str:
    """The tag scheme of sentences' tags, with its notation where that is an uncommon one.

    ``none``: most tags but O are not a letter of a scheme, alone or joined to a label: plain labels
    such as parts of speech. IOBES, BILOU, BMES, BMEWO: by their letters. Of tags B, I, O: IO where
    there is no B; BIO where every span begins with B; IOB1 where a B stands only between two spans
    of one label. With both spans that begin with I and Bs that IOB1 does not need, the
    more frequent of the two decides, and the others are broken sequences. Of tags E, I, O likewise
    IO, IOE2 and IOE1, by how spans end. BRACKETS: ``(PER*``, ``*``, ``*)``.

    Args:
        sentences: the tags of each sentence.
        places: ``file:line`` of each sentence, for the message.

    Raises:
        TextError: a few tags have another form than most; or more than one span in ten is not
            written as a scheme with marked ends writes it: two schemes are mixed, which no policy
            repairs unseen.

    >>> detect_scheme([["I-PER", "O", "I-LOC", "B-LOC"]])
    'IOB1'
    >>> detect_scheme([["B-PER", "L-PER", "O"]]), detect_scheme([["PER_b", "PER_i", "o"]])
    ('BILOU', 'BIO X_b')
    >>> detect_scheme([["DT", "NN"]])
    'none'
    """
    given = list(sentences)

    def where(rank: int) -> str:
        return places[rank] if places else f"sentence {rank + 1}"

    form = find_form(Counter(tag for tags in given for tag in tags))
    notation = form.notation
    if notation.scheme == "none":
        return "none"
    if form.foreign:
        rank = next(rank for rank, tags in enumerate(given) if form.first_foreign in tags)
        raise TextError(
            f"the tag {form.first_foreign!r} is not written as most others are, in {notation.name}",
            where=where(rank),
            hint="Correct it, or take all tags as plain labels with the scheme none",
        )
    facts = _Facts()
    for rank, tags in enumerate(given):
        facts.add(notation.canonical(tags), rank)
    if notation.base == "IOBES":
        if facts.broken * _BROKEN_SHARE > facts.all:
            raise TextError(
                f"tags of {notation.scheme} are mixed with tags of another scheme: {facts.broken} "
                f"of {facts.all} spans are not written as {notation.scheme} writes them",
                where=where(facts.broken_at),
                hint="Bring all files to one scheme, or take all tags as plain labels with the "
                "scheme none",
            )
    elif notation.base == "IOE2":
        if not facts.ended_e:
            notation = notation._replace(scheme="IO")
        elif facts.ended_i > facts.needless_e:
            notation = notation._replace(scheme="IOE1")
    elif not facts.begun_b:
        notation = notation._replace(scheme="IO" if facts.begun_i else "BIO")
    elif facts.begun_i > facts.needless_b:
        notation = notation._replace(scheme="IOB1")
    return notation.name


def spans(tags: Sequence[str], policy: Policy = "conlleval", scheme: str = "BIO") -> list[Span]:
    """The spans of a sentence's tags, in their order.

    ``conlleval`` reads any prefixes, whatever the scheme: a span begins at B or S, at I or E after
    O, E, S or another label, and ends before O, B or S, after E or S, and where the label changes.
    ``strict`` keeps a span only where every tag of it is what `scheme` prescribes (as seqeval's
    strict mode); other tagged words are in no span.

    Raises:
        SettingError: the policy is neither.
        TextError: strict, and a prefix is not one of the scheme's.

    >>> spans(["I-PER", "I-PER", "O", "B-LOC"])
    [Span(start=0, end=2, label='PER'), Span(start=3, end=4, label='LOC')]
    >>> spans(["I-PER", "I-PER", "O", "B-LOC"], "strict", "BIO")
    [Span(start=3, end=4, label='LOC')]
    """
    notation = notation_named(scheme)
    if policy == "conlleval":
        return _lenient(notation.canonical(tags))
    if policy == "strict":
        return _strict(notation.canonical(tags), notation)
    raise SettingError(f"the policy is {policy!r}, allowed are conlleval and strict")


def tags_of(found: Iterable[Span], size: int, scheme: str = "BIO") -> list[str]:
    """The tags of a sentence of `size` words with these spans, which must not overlap.

    IO cannot tell neighbouring spans of one label apart: they merge.

    >>> tags_of([Span(0, 2, "PER"), Span(3, 4, "LOC")], 5, "IOBES")
    ['B-PER', 'E-PER', 'O', 'S-LOC', 'O']
    """
    notation = notation_named(scheme)
    base = notation.base
    if base == "none":
        raise SettingError("spans have no tags in the scheme none")
    tags = ["O"] * size
    last = Span(0, 0, "")
    for span in sorted(found):
        if not last.end <= span.start < span.end <= size:
            what = f"the span {tuple(span)} is empty, overlaps {tuple(last)} or passes {size} words"
            raise SettingError(what)
        prefixes = ["I"] * (span.end - span.start)
        touches = last.end == span.start and last.label == span.label and last.end > last.start
        if base in ("BIO", "IOBES") or (base == "IOB1" and touches):
            prefixes[0] = "B"
        if base == "IOBES":
            prefixes[-1] = "E" if len(prefixes) > 1 else "S"
        if base == "IOE2":
            prefixes[-1] = "E"
        if base == "IOE1" and touches:
            tags[last.end - 1] = join_tag("E", last.label)
        tags[span.start : span.end] = [join_tag(prefix, span.label) for prefix in prefixes]
        last = span
    return notation.written(tags)


def convert(
    tags: Sequence[str],
    source: str,
    target: str,
    *,
    policy: Literal["repair", "refuse"] = "repair",
    place: str | None = None,
) -> list[str]:
    """A sentence's tags in another scheme.

    ``repair`` reads broken sequences as conlleval does and loses no tagged word; ``refuse`` raises
    at the first tag that the source scheme does not allow there. From or to ``none``, tags stay as
    they are.

    Raises:
        TextError: `refuse`, and the tags are not those of their own spans, with the word's rank.
        SettingError: a scheme or the policy is unknown.

    >>> convert(["I-PER", "I-PER", "B-PER", "O"], "IOB1", "BIO")
    ['B-PER', 'I-PER', 'B-PER', 'O']
    """
    old, new = notation_named(source), notation_named(target)
    if policy not in ("repair", "refuse"):
        raise SettingError(f"the policy is {policy!r}, allowed are repair and refuse")
    if "none" in (old.scheme, new.scheme):
        return list(tags)
    found = _lenient(old.canonical(tags))
    if policy == "refuse":
        right = tags_of(found, len(tags), source)
        for rank, (tag, other) in enumerate(zip(tags, right, strict=True)):
            if tag != other:
                before = repr(tags[rank - 1]) if rank else "the start"
                raise TextError(
                    f"the tag {tag!r} of word {rank + 1}, after {before}, is not allowed in "
                    f"{old.name}, where {other!r} would be",
                    where=place,
                    hint="Repair broken sequences as conlleval reads them: policy repair",
                )
    return tags_of(found, len(tags), target)


class _Facts:
    """Counts of spans by which schemes are distinguished."""

    def __init__(self) -> None:
        self.all = 0  # spans
        self.broken = 0  # not written as IOBES writes them
        self.broken_at = 0  # sentence of the first of those
        self.begun_b = 0
        self.begun_i = 0
        self.needless_b = 0  # begun with B where IOB1 writes I
        self.ended_e = 0
        self.ended_i = 0
        self.needless_e = 0  # ended with E where IOE1 writes I

    def add(self, tags: Sequence[str], rank: int) -> None:
        """Count a sentence."""
        last = Span(-1, -1, "")
        for span in _lenient(tags):
            self._add_span(tags, span, last, rank)
            last = span
        self.needless_e += last.end > 0 and tags[last.end - 1][0] == "E"

    def _add_span(self, tags: Sequence[str], span: Span, last: Span, rank: int) -> None:
        first, end = tags[span.start][0], tags[span.end - 1][0]
        touches = last.end == span.start and last.label == span.label
        self.all += 1
        self.ended_e += end == "E"
        self.ended_i += end == "I"
        self.needless_e += last.end > 0 and tags[last.end - 1][0] == "E" and not touches
        self.begun_b += first == "B"
        self.begun_i += first == "I"
        self.needless_b += first == "B" and not touches
        if not _is_whole(tags, span):
            self.broken_at = self.broken_at if self.broken else rank
            self.broken += 1


def _lenient(tags: Sequence[str]) -> list[Span]:
    found: list[Span] = []
    start = 0
    before, label_before = "O", ""
    for rank, tag in enumerate([*tags, "O"]):
        prefix, label = split_tag(tag)
        inside = before not in OUTSIDE
        changes = label != label_before
        if inside and (before in ("E", "S") or prefix in ("B", "S", *OUTSIDE) or changes):
            found.append(Span(start, rank, label_before))
            inside = False
        if prefix not in OUTSIDE and not inside:
            start = rank
        before, label_before = prefix, label
    return found


def _strict(tags: Sequence[str], notation: Notation) -> list[Span]:
    scheme = notation.base
    prefixes = PREFIXES.get(scheme)
    if prefixes is None:
        raise SettingError("strict spans need a scheme, and this is none")
    for rank, tag in enumerate(tags):
        if split_tag(tag)[0] not in tuple(prefixes):
            what = f"the tag {tag!r} of word {rank + 1} is not one of {notation.name}"
            raise TextError(what, hint=f"Its prefixes are {', '.join(prefixes)}")
    if scheme == "IOB1":
        return _strict_iob1([split_tag(tag) for tag in tags])
    found = _lenient(tags)
    if scheme == "IOBES":
        return [span for span in found if _is_whole(tags, span)]
    if scheme == "BIO":
        return [span for span in found if tags[span.start][0] == "B"]
    if scheme == "IOE2":
        return [span for span in found if tags[span.end - 1][0] == "E"]
    if scheme == "IOE1":
        begins = {(span.start, span.label) for span in found}
        return [
            span
            for span in found
            if tags[span.end - 1][0] == "I" or (span.end, span.label) in begins
        ]
    return found


def _strict_iob1(parts: list[tuple[str, str]]) -> list[Span]:
    """As seqeval reads IOB1 strictly, its two oddities included.

    After a B that itself begins nothing (the label before it is another, or none) an I begins a
    span; and a span of one B is lost where a B of another label follows.
    """
    found: list[Span] = []
    outside = ("O", "")
    parts = [*parts, outside]
    at = 0
    while at < len(parts):
        prefix, label = parts[at]
        before, label_before = parts[at - 1] if at else outside
        if prefix == "I":
            begins = (before, label_before) != ("I", label)
        else:
            begins = prefix == "B" and before != "O" and label_before == label
        end = at + 1
        if begins:
            while parts[end] == ("I", label):
                end += 1
            is_lost = parts[end - 1][0] == parts[end][0] == "B" and parts[end][1] != label
            if not is_lost:
                found.append(Span(at, end, label))
        at = end
    return found


def _is_whole(tags: Sequence[str], span: Span) -> bool:
    """Whether the tags of a span are S alone, or B, Is and E."""
    prefixes = "".join(tag[0] for tag in tags[span.start : span.end])
    if len(prefixes) == 1:
        return prefixes == "S"
    return prefixes[0] == "B" and prefixes[-1] == "E" and set(prefixes[1:-1]) <= {"I"}
