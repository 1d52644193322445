"""FSTs of n-gram models: those of Kaldi's arpa2fst, with the costs of our scores."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from tests.integrations.kenlm_models import WORDS, random_sentences
from tests.ngram.backoff_oracle import sentences

import unrolled
from unrolled.errors import NotNormalisedError, SettingError, TextError
from unrolled.integrations.fst import export_fst, ngram_fst
from unrolled.text.symbol_table import SymbolTable

kaldifst = pytest.importorskip("kaldifst")

INFINITE = float("inf")


def arcs_of(fst):
    """Start, final costs that are finite, and arcs of each state: (input, output, cost, target)."""
    arcs, finals = [], {}
    for state in range(fst.num_states):
        arcs.append(
            [
                (arc.ilabel, arc.olabel, arc.weight.value, arc.nextstate)
                for arc in kaldifst.ArcIterator(fst, state)
            ]
        )
        if fst.final(state).value != INFINITE:
            finals[state] = fst.final(state).value
    return fst.start, finals, arcs


def without_redundant_states(start, finals, arcs):
    """As Kaldi's RemoveRedundantStates, which kaldilm's arpa2fst lacks."""

    def lands(state):
        cost = 0.0
        while state != start and state not in finals and len(arcs[state]) == 1:
            (((_, _, weight, state),)) = arcs[state]
            cost += weight
        return cost, state

    moved = []
    for state in arcs:
        ends = [(*arc[:3], *lands(arc[3])) for arc in state]
        moved.append([(label, out, cost + more, to) for label, out, cost, more, to in ends])
    return start, finals, moved


def canonical(start, finals, arcs):
    """States numbered as they are met from the start by ascending labels: equal if isomorphic."""
    numbers, queue, rows = {start: 0}, [start], []
    for state in queue:
        for label, output, cost, target in sorted(arcs[state]):
            if target not in numbers:
                numbers[target] = len(numbers)
                queue.append(target)
            rows.append((numbers[state], numbers[target], label, output, cost))
        rows.append((numbers[state], -1, -1, -1, finals.get(state, -1.0)))
    return np.array(rows), len(numbers)


@pytest.mark.parametrize("disambiguation", ["#0", ""])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["witten-bell", "pruned", "maximum-likelihood"])
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_equal_to_arpa2fst(tmp_path, order, kind, disambiguation):
    """Without smoothing back-off weights are log 0."""
    kaldilm = pytest.importorskip("kaldilm")
    smoothing = "witten-bell" if kind == "pruned" else kind
    model = unrolled.train_ngram(texts=sentences(3), order=order, smoothing=smoothing)
    if kind == "pruned":
        model = unrolled.entropy_prune(model, 3e-3)
    arpa, ours, theirs = (str(tmp_path / name) for name in ("a.arpa", "o.fst", "t.fst"))
    unrolled.write_arpa(model, arpa)
    kaldilm.arpa2fst(
        arpa, theirs, disambig_symbol=disambiguation, write_symbol_table=f"{theirs}.words"
    )
    written = export_fst(model, ours, disambiguation=disambiguation)
    assert written.read_bytes() == (tmp_path / "t.fst.words").read_bytes()
    wanted = arcs_of(kaldifst.StdVectorFst.read(theirs))
    if disambiguation:
        wanted = without_redundant_states(*wanted)
    mine = arcs_of(kaldifst.StdVectorFst.read(ours))
    (got, states), (expected, _) = canonical(*mine), canonical(*wanted)
    assert states == len(mine[2])  # all can be reached
    assert np.array_equal(got[:, :4], expected[:, :4])
    np.testing.assert_allclose(got[:, 4], expected[:, 4], atol=2e-6)


def test_all_files_hold_the_same(tmp_path):
    pywrapfst = pytest.importorskip("pywrapfst")
    model = unrolled.train_ngram(texts=sentences(5), order=3, smoothing="witten-bell")
    export_fst(model, tmp_path / "v.fst")
    export_fst(model, tmp_path / "c.fst", type="const")
    words = export_fst(model, tmp_path / "lm.fst.txt")
    assert words.name == "lm.words.txt"
    vector = kaldifst.StdVectorFst.read(str(tmp_path / "v.fst"))
    wanted = arcs_of(vector)
    assert arcs_of(kaldifst.StdConstFst.read(str(tmp_path / "c.fst"))) == wanted
    table = pywrapfst.SymbolTable.read_text(str(words))
    compiler = pywrapfst.Compiler(isymbols=table, osymbols=table, keep_state_numbering=True)
    compiler.write((tmp_path / "lm.fst.txt").read_text())
    text = compiler.compile()
    for name in ("v.fst", "c.fst"):
        fst = pywrapfst.Fst.read(str(tmp_path / name))
        assert fst.verify()
        assert fst.start() == text.start()
        assert pywrapfst.isomorphic(fst, text)


def path_cost(fst, labels, backing):
    """The cost of the path that backs off only where no arc has the label."""
    state, finals, arcs = fst
    total = 0.0
    for label in labels:
        while label not in arcs[state]:
            cost, state = arcs[state][backing]
            total += cost
        cost, state = arcs[state][label]
        total += cost
    while state not in finals:
        cost, state = arcs[state][backing]
        total += cost
    return total + finals[state]


@pytest.mark.parametrize("disambiguation", ["#0", ""])
def test_paths_of_ten_thousand_sentences_cost_their_scores(tmp_path, disambiguation):
    texts = list(random_sentences(1, 3000))
    model = unrolled.train_ngram(texts=texts, order=4, smoothing="witten-bell")
    export_fst(model, tmp_path / "lm.fst", disambiguation=disambiguation)
    start, finals, arcs = arcs_of(kaldifst.StdVectorFst.read(str(tmp_path / "lm.fst")))
    fst = start, finals, [{arc[0]: arc[2:] for arc in state} for state in arcs]
    labels = SymbolTable.read(str(tmp_path / "lm.words.txt")).labels
    tried = list(random_sentences(2, 10_000, extra=["nobody"]))
    costs = []
    for text in tried:
        path = [labels.get(word, labels["<unk>"]) for word in text.split()]
        if not disambiguation:
            path = [labels["<s>"], *path, labels["</s>"]]
        costs.append(path_cost(fst, path, labels.get(disambiguation, 0)))
    scores = unrolled.score_sentences(model, tried)
    assert np.abs(np.array(costs) + scores).max() < 1e-4


def test_a_given_symbol_table_chooses_words(tmp_path):
    model = unrolled.train_ngram(texts=["a b c", "a c b"], order=3, smoothing="witten-bell")
    table = tmp_path / "words.txt"
    table.write_text("<eps> 0\na 7\nb 9\n#0 12\n<begin> 3\n<end> 4\n")
    fst, symbols = ngram_fst(model, SymbolTable.read(str(table)), bos="<begin>", eos="<end>")
    assert set(fst.inputs.tolist()) == {7, 9, 12}
    assert symbols.labels["<begin>"] == 3
    out = tmp_path / "lm.fst"
    assert export_fst(model, out, symbols=str(table), bos="<begin>", eos="<end>") is None
    start, _, arcs = arcs_of(kaldifst.StdVectorFst.read(str(out)))
    cost, state = next(arc[2:] for arc in arcs[start] if arc[0] == 7)
    assert cost == pytest.approx(-model.step(model.start(), model.vocabulary.id("a"))[1])
    assert {label for label, *_ in arcs[state]} == {9, 12}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "words.txt:1: is 'a', not a word and its label"),
        ("<eps> 0\na 1\na 2\n", "words.txt:3: 'a' comes twice"),
        ("<eps> 0\na 1\nb 1\n", "two words have one label"),
        ("a 0\n", "label 0 is 'a' and must be <eps>"),
        ("<eps> 0\na -1\n", "not a word and its label"),
    ],
)
def test_bad_symbol_tables(tmp_path, text, message):
    path = tmp_path / "words.txt"
    path.write_text(text)
    with pytest.raises(TextError, match=message):
        SymbolTable.read(str(path))


def test_errors(tmp_path):
    model = unrolled.train_ngram(texts=["a #0"], order=2, smoothing="witten-bell")
    with pytest.raises(SettingError, match="the model has '#0' as a word, which the FST needs"):
        ngram_fst(model)
    assert ngram_fst(model, disambiguation="#1")[1].labels["#0"] > 1
    with pytest.raises(SettingError, match=r"the symbol table has no #1\. Add it there"):
        ngram_fst(model, SymbolTable({"<eps>": 0, "a": 1}), disambiguation="#1")
    with pytest.raises(SettingError, match="'array', allowed are vector, const"):
        export_fst(model, tmp_path / "x.fst", type="array")
    stupid = unrolled.train_ngram(texts=["a b"], order=2, smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="an FST needs probabilities"):
        ngram_fst(stupid)


def test_random_models_keep_their_distribution():
    """After any context, what the state and those that it backs off to give sums to one."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS[:6], k=4)) for _ in range(50)]
    model = unrolled.train_ngram(texts=texts, order=3, smoothing="witten-bell")
    fst, symbols = ngram_fst(model)
    rows = [
        dict(
            zip(
                fst.inputs[low:high].tolist(),
                zip(fst.weights[low:high].tolist(), fst.targets[low:high].tolist(), strict=True),
                strict=True,
            )
        )
        for low, high in zip(fst.first[:-1].tolist(), fst.first[1:].tolist(), strict=True)
    ]
    finals = {s: c for s, c in enumerate(fst.finals.tolist()) if c != INFINITE}
    words = [label for word, label in symbols.labels.items() if label > 3]
    for state in range(len(rows)):
        total = math.exp(-path_cost((state, finals, rows), [], 1))
        for label in words:
            before = path_cost((state, finals, rows), [label], 1)
            here = state
            while label not in rows[here]:
                here = rows[here][1][1]
            after = path_cost((rows[here][label][1], finals, rows), [], 1)
            total += math.exp(after - before)
        assert total == pytest.approx(1, abs=1e-5)
