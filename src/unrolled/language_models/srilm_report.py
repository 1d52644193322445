"""What ``ngram -ppl -debug 1`` and ``-debug 2`` of SRILM print, for programs that read it.

Numbers have the six digits that SRILM gives them; logarithms are to base 10. ``ppl`` counts </s>,
``ppl1`` does not. <unk> is a word with a probability, as with SRILM's ``-unk``; or unknown words
have none and are left out, as without it.

>>> from unrolled import train_ngram
>>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
>>> report = srilm_report(model, [["the cat"]], "a.txt")
>>> print("\\n".join(line for lines in report for line in lines).replace("\\t", " "))
the cat
 p( the | <s> )  = [2gram] 0.6125 [ -0.212894 ]
 p( cat | the ...)  = [2gram] 0.6125 [ -0.212894 ]
 p( </s> | cat ...)  = [1gram] 0.1125 [ -0.948847 ]
1 sentences, 2 words, 0 OOVs
0 zeroprobs, logprob= -1.37464 ppl= 2.87218 ppl1= 4.86763
<BLANKLINE>
file a.txt: 1 sentences, 2 words, 0 OOVs
0 zeroprobs, logprob= -1.37464 ppl= 2.87218 ppl1= 4.86763
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.language_models.scoring import Surprisal, surprisals
from unrolled.language_models.unknown_words import Unknown

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

_LN10 = math.log(10)


@dataclass
class _Totals:
    """Sums over sentences."""

    sentences: int = 0
    words: int = 0
    oovs: int = 0
    zeroprobs: int = 0
    log10: float = 0.0

    def add(self, other: _Totals) -> None:
        self.sentences += other.sentences
        self.words += other.words
        self.oovs += other.oovs
        self.zeroprobs += other.zeroprobs
        self.log10 += other.log10

    def lines(self) -> list[str]:
        predicted = self.words - self.oovs - self.zeroprobs
        return [
            f"{self.sentences} sentences, {self.words} words, {self.oovs} OOVs",
            f"{self.zeroprobs} zeroprobs, logprob= {self.log10:.6g} "
            f"ppl= {self._perplexity(predicted + self.sentences)} "
            f"ppl1= {self._perplexity(predicted)}",
        ]

    def _perplexity(self, tokens: int) -> str:
        if tokens <= 0:
            return "undefined"
        try:
            return f"{10 ** (-self.log10 / tokens):.6g}"
        except OverflowError:
            return "inf"


def srilm_report(
    model: LanguageModel,
    batches: Iterable[Sequence[str]],
    name: str,
    *,
    words: bool = True,
    unknown: Unknown = "class",
    options: TextOptions | None = None,
    threads: int = 2,
) -> Iterator[list[str]]:
    """The lines of the report, those of each batch at once and then those of the whole text.

    Args:
        batches: sentences that are scored together.
        name: of the text, for its last lines.
        words: a line for every word too (``-debug 2``).
        unknown: what an unknown word costs, see `unknown_words`; "skip" is SRILM without ``-unk``.
        options: how to split sentences into tokens; by default as the model's training text.
        threads: that may be used.

    Raises:
        NotNormalisedError: stupid back-off.
    """
    require_normalised(model, "SRILM's report")
    total, skip_oov = _Totals(), unknown == "skip"
    for batch in batches:
        lines: list[str] = []
        tokens = surprisals(model, batch, options=options, unknown=unknown, threads=threads)
        for _, group in groupby(tokens, key=lambda token: token.sentence):
            sentence = list(group)
            own = _totals(sentence, skip_oov)
            total.add(own)
            lines.append(" ".join(token.word for token in sentence[:-1]))
            if words:
                lines += _word_lines(sentence, skip_oov)
            lines += [*own.lines(), ""]
        yield lines
    first, second = total.lines()
    yield [f"file {name}: {first}", second]


def _totals(sentence: Sequence[Surprisal], skip_oov: bool) -> _Totals:
    own = _Totals(sentences=1, words=len(sentence) - 1)
    for token in sentence:
        if token.oov and skip_oov:
            own.oovs += 1
        elif token.log_prob == -math.inf:
            own.zeroprobs += 1
        else:
            own.log10 += token.log_prob / _LN10
    return own


def _word_lines(sentence: Sequence[Surprisal], skip_oov: bool) -> Iterator[str]:
    before = "<s>"
    for number, token in enumerate(sentence):
        word = "<unk>" if token.oov else token.word
        given = f"{before} ...)" if number else f"{before} )"
        missing = token.oov and skip_oov
        log10 = -math.inf if missing else token.log_prob / _LN10
        found = "" if token.length is None else f"[{token.length}gram]"
        shown = "[OOV]" if missing else found
        yield f"\tp( {word} | {given} \t= {shown} {10**log10:.6g} [ {log10:.6g} ]"
        before = word
