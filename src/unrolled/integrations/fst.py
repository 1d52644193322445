"""N-gram models as weighted finite-state transducers, as Kaldi's ``arpa2fst`` makes them.

A state for each context, an arc for each n-gram with the cost -log p, and from each state an arc
to the state of the context without its first word, with the cost of the back-off weight.

With a disambiguation symbol (``#0``, what Kaldi's recipes use) these arcs carry it as input and
epsilon as output; <s> is the start state, the costs of </s> are final weights, and states that
have no arc but the one for backing off are left out. Without one they carry epsilon, and <s> and
</s> are labels of arcs like other words.

The cost of a sentence is minus its log-probability along the path that backs off only where a
state has no arc for the next word: so it is when the symbol is matched as a failure arc (OpenFst's
phi). Where it is matched as an epsilon, as Kaldi's decoders do, the best path may be cheaper: it
may back off although there is an arc.

>>> from unrolled import train_ngram
>>> model = train_ngram(texts=["the cat sat", "the dog sat"], order=2, smoothing="witten-bell")
>>> fst, symbols = ngram_fst(model)
>>> fst.finals.size, fst.weights.size, symbols.labels["#0"]
(6, 15, 1)
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.integrations.openfst_files import TYPES, Fst, write_fst, write_fst_text
from unrolled.language_models.protocol import require_normalised
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.table import NgramTable
from unrolled.text.symbol_table import EPSILON, SymbolTable
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]

DISAMBIGUATION = "#0"
_LOG_ZERO_COST = np.float32(99 * math.log(10))  # as ARPA files write log zero


def export_fst(
    model: NgramModel,
    path: str | os.PathLike[str],
    *,
    symbols: str | None = None,
    disambiguation: str = DISAMBIGUATION,
    bos: str = "<s>",
    eos: str = "</s>",
    type: str = "vector",
    threads: int = 2,
) -> Path | None:
    """Write a model as an FST of OpenFst, and its symbol table beside it.

    Args:
        model: an n-gram model.
        path: binary; text if it ends in ``.txt``.
        symbols: a symbol table to use, such as Kaldi's words.txt; n-grams with words that it lacks
            are left out. Without it one is made and written: ``lm.words.txt`` for ``lm.fst``.
        disambiguation, bos, eos: see `ngram_fst`.
        type: of a binary file, ``vector`` or ``const``.

    Returns:
        The symbol table that was written.

    Raises:
        SettingError: another type, or a symbol table without the disambiguation symbol.
        NotNormalisedError: stupid back-off.
    """
    if type not in TYPES:
        raise SettingError(f"the type of the FST is {type!r}, allowed are {', '.join(TYPES)}")
    given = SymbolTable.read(symbols) if symbols else None
    fst, table = ngram_fst(
        model, given, disambiguation=disambiguation, bos=bos, eos=eos, threads=threads
    )
    target = Path(path)
    if target.suffix == ".txt":
        write_fst_text(fst, table, target)
    else:
        write_fst(fst, target, type=type)
    if symbols:
        return None
    name = target.name.removesuffix(".txt").removesuffix(".fst")
    beside = target.with_name(f"{name}.words.txt")
    table.write(beside)
    return beside


def ngram_fst(
    model: NgramModel,
    symbols: SymbolTable | None = None,
    *,
    disambiguation: str = DISAMBIGUATION,
    bos: str = "<s>",
    eos: str = "</s>",
    threads: int = 2,
) -> tuple[Fst, SymbolTable]:
    """The transducer of an n-gram model, and the labels of its words.

    Args:
        symbols: labels to use; those of <s> and </s> are added if they are missing.
        disambiguation: the symbol on arcs that back off; "" for epsilon.
        bos, eos: what <s> and </s> are called in the symbol table.

    Raises:
        SettingError: a symbol table without the disambiguation symbol, or a word of the model that
            is called like it. NotNormalisedError: stupid back-off.
    """
    require_normalised(model, "an FST")
    table = _symbols(model, symbols, disambiguation, bos, eos)
    names = [bos if id == BOS else eos if id == EOS else w for id, w in enumerate(model.vocabulary)]
    for reserved in filter(None, (EPSILON, disambiguation)):
        if reserved in names:
            raise SettingError(f"the model has {reserved!r} as a word, which the FST needs")
    labels = np.array([table.labels.get(name, -1) for name in names], np.int64)
    backing = table.labels[disambiguation] if disambiguation else 0
    return _Builder(model.trie.unpack(), labels, backing, threads).fst(), table


def _symbols(
    model: NgramModel, given: SymbolTable | None, disambiguation: str, bos: str, eos: str
) -> SymbolTable:
    if given is None:
        given = SymbolTable({EPSILON: 0})
        words = [bos, eos, *(w for id, w in enumerate(model.vocabulary) if id not in (BOS, EOS))]
        names = [*filter(None, [disambiguation]), *words]
        return SymbolTable({name: label for label, name in enumerate([EPSILON, *names])})
    if disambiguation and disambiguation not in given.labels:
        raise SettingError(
            f"the symbol table has no {disambiguation}",
            hint="Add it there, or name another symbol; '' stands for epsilon",
        )
    for name in (bos, eos):
        given.add(name)
    return given


class _Builder:
    """From the n-grams of a table, by nodes, to states and arcs."""

    def __init__(self, table: NgramTable, labels: Array, backing: int, threads: int) -> None:
        self.table, self.labels, self.backing = table, labels, backing
        self.suffixes = table.link_suffixes(threads=threads)
        self.backoff_costs = np.minimum(-table.backoffs, _LOG_ZERO_COST)
        usable = labels >= 0
        usable[[BOS, EOS]] = False
        # Contexts that get a state, and n-grams that get an arc or a final weight.
        self.is_context = np.zeros(int(table.levels[-1]), bool)
        self.has_arc = np.zeros(int(table.levels[-1]), bool)
        for length in range(1, table.order + 1):
            here, words = table.level(length), table.last_words(length)
            follows: Any = True if length == 1 else self.is_context[table.parents(length)]
            self.has_arc[here] = follows & (labels[words] >= 0) & (words != BOS)
            self.is_context[here] = follows & usable[words]
            if length == 1:
                self.is_context[BOS] = True
        self.is_context[table.inner :] = False

    def fst(self) -> Fst:
        """The transducer."""
        table, epsilons = self.table, self.backing == 0
        state, extra, count = self._states(first=2 if epsilons else 1)
        finals = np.full(count + epsilons, np.inf, np.float32)
        arcs = _Arcs()
        for length in range(1, table.order + 1):
            here, words = table.level(length), table.last_words(length)
            has, ends = self.has_arc[here], self.has_arc[here] & (words == EOS)
            source = np.zeros(words.size, np.int64)
            if length > 1:
                source = state[table.parents(length)]
            cost = np.minimum(-table.log_probs[here], _LOG_ZERO_COST)
            np.maximum(cost, 0, out=cost)  # rounding may lift log 1 above 0
            target = np.zeros(words.size, np.int64)
            if table.order > 1:
                context = np.arange(here.start, here.stop)
                if length == table.order:
                    context = self.suffixes[here].astype(np.int64)
                target = state[context]
                target[ends] = 1  # where there is no epsilon, these arcs are left out
                reach = np.where(ends, np.float32(0), extra[context])
            else:
                reach = np.zeros(words.size, np.float32)
                target[ends] = int(epsilons)
            if epsilons:
                finals[1] = 0
            else:
                finals[source[ends]] = cost[ends]
                has &= ~ends
            arcs.add(source[has], self.labels[words[has]], (cost + reach)[has], target[has])
        self._add_backoffs(arcs, state, extra)
        start = int(state[BOS]) if table.order > 1 else 0
        if epsilons:  # <s> is a word, which a state of its own accepts
            arcs.add([count], [self.labels[BOS]], np.zeros(1, np.float32), [start])
            start = count
        return arcs.sorted(start, finals, self.backing)

    def _states(self, first: int) -> tuple[Array, Array, int]:
        """State of each context, the cost to add for reaching it, and how many states there are.

        A context left out stands for the state that it backs off to, at the cost of its weight.
        """
        table = self.table
        stays = self.is_context[: table.inner].copy()
        if self.backing != 0:
            followed = np.zeros(table.inner, bool)
            for length in range(2, table.order + 1):
                followed[table.parents(length)[self.has_arc[table.level(length)]]] = True
            stays &= followed
            stays[BOS : BOS + 1] = True
        state = np.cumsum(stays) + (first - 1)
        state[~stays] = 0
        extra = np.zeros(table.inner, np.float32)
        for length in range(1, table.order):
            here = table.level(length)
            left_out = np.flatnonzero(self.is_context[here] & ~stays[here]) + here.start
            extra[left_out] = self.backoff_costs[left_out]
            if length > 1:
                shorter = self.suffixes[left_out]
                state[left_out] = state[shorter]
                extra[left_out] += extra[shorter]
        self.stays = stays
        return state, extra, int(stays.sum()) + first

    def _add_backoffs(self, arcs: _Arcs, state: Array, extra: Array) -> None:
        """An arc from each state but that without context to the one that it backs off to."""
        table = self.table
        for length in range(1, table.order):
            here = table.level(length)
            nodes = np.flatnonzero(self.stays[here]) + here.start
            cost, target = self.backoff_costs[nodes], np.zeros(nodes.size, np.int64)
            if length > 1:
                shorter = self.suffixes[nodes]
                target = state[shorter]
                cost += extra[shorter]
            arcs.add(state[nodes], np.full(nodes.size, self.backing), cost, target)


class _Arcs:
    """Arcs as they are found."""

    def __init__(self) -> None:
        self._keys: list[Array] = []  # source state and input label
        self._costs: list[Array] = []
        self._targets: list[Array] = []

    def add(self, sources: Any, labels: Any, costs: Array, targets: Any) -> None:
        self._keys.append((np.asarray(sources, np.int64) << 32) | labels)
        self._costs.append(costs)
        self._targets.append(np.asarray(targets, np.int32))

    def sorted(self, start: int, finals: Array, backing: int) -> Fst:
        """The transducer of these arcs, by source and input label."""
        keys = _joined(self._keys)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        inputs = (keys & 0xFFFFFFFF).astype(np.int32)
        keys >>= 32
        return Fst(
            start,
            finals,
            np.searchsorted(keys, np.arange(finals.size + 1)),
            inputs,
            np.where(inputs == backing, np.int32(0), inputs),
            _joined(self._costs)[order],
            _joined(self._targets)[order],
        )


def _joined(parts: list[Array]) -> Array:
    """The parts as one array; the list is emptied to save memory."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
