"""Lattices: expansion, best paths and files, held against all paths of small ones."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pytest
from tests.ngram.backoff_oracle import small_model
from tests.small_nets import WORDS
from tests.small_nets import small_model as small_net

from unrolled.errors import SettingError, TextError
from unrolled.language_models.cache import CacheModel
from unrolled.language_models.mixture import Mixture
from unrolled.rescoring.lattice_files import detect_format, lattice_lines, read_lattices
from unrolled.rescoring.lattice_rescoring import rescore_lattice
from unrolled.rescoring.lattices import Lattice, best_paths
from unrolled.rescoring.rescore import RescoringWeights

NGRAM_WORDS = ["w0", "w1", "w2", "w3", "nobody"]


def random_lattice(seed, words, nodes=6, finals=1):
    """Arcs from lower to higher nodes; a fifth has no word."""
    random = np.random.default_rng(seed)
    pairs = [(a, b) for a in range(nodes) for b in range(a + 1, nodes) if random.random() < 0.6]
    pairs += [(a, a + 1) for a in range(nodes - 1)]
    sources, targets = np.array(sorted(pairs)).T
    spoken = ["" if random.random() < 0.2 else str(random.choice(words)) for _ in pairs]
    ends = {nodes - 1 - k: (float(-k), -0.5 * k) for k in range(finals)}
    scores = -random.exponential(3, (2, len(pairs)))
    return Lattice("utt", 0, sources, targets, spoken, *scores, ends, True)


def every_path(lattice):
    """(arcs, end) of every path, by walking."""
    leaving, stack = lattice.arcs_of(), [(lattice.start, ())]
    while stack:
        node, arcs = stack.pop()
        if node in lattice.finals:
            yield arcs, node
        stack += [(int(lattice.targets[arc]), (*arcs, arc)) for arc in leaving[node]]


def expected(lattice, model, weights, acoustic_scale):
    """Best total of each word sequence, the new score from whole sentences."""
    found = {}
    for arcs, end in every_path(lattice):
        words = tuple(lattice.words[arc] for arc in arcs if lattice.words[arc])
        acoustic = sum(lattice.acoustic[arc] for arc in arcs) + lattice.finals[end][0]
        old = sum(lattice.old[arc] for arc in arcs) + lattice.finals[end][1]
        share = weights.mix if lattice.has_old else 1
        language = (1 - share) * old + share * float(model.scores([" ".join(words)])[0])
        total = acoustic_scale * acoustic + weights.lm_scale * language
        total += weights.word_penalty * len(words)
        found[words] = max(found.get(words, -math.inf), total)
    return sorted(found.items(), key=lambda pair: -pair[1])


MODELS = {
    "bigram": (lambda: small_model(order=2), NGRAM_WORDS),
    "4-gram": (lambda: small_model(order=4), NGRAM_WORDS),
    "net": (lambda: small_net(cell="lstm"), WORDS[:4]),
    "mixture": (lambda: Mixture([small_model(order=2), small_model(order=3)], [0.5, 0.5]),
                NGRAM_WORDS),
    "cache": (lambda: CacheModel(small_model().vocabulary), NGRAM_WORDS),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_equal_to_all_paths(name):
    make, words = MODELS[name]
    model = make()
    weights = RescoringWeights(lm_scale=2.0, mix=0.7, word_penalty=-0.3)
    for seed in range(6):
        lattice = random_lattice(seed, words, finals=1 + seed % 2)
        rescored = rescore_lattice(lattice, model, weights, acoustic_scale=0.5, states=0)
        found = best_paths(rescored, weights, count=10_000, acoustic_scale=0.5)
        wanted = expected(lattice, model, weights, 0.5)
        assert {path.words for path in found} == {words for words, _ in wanted}
        totals = [path.total for path in found]
        assert totals == sorted(totals, reverse=True)
        assert totals == pytest.approx([total for _, total in wanted], abs=1e-4)
        few = best_paths(rescored, weights, count=3, acoustic_scale=0.5)
        assert [path.total for path in few] == totals[:3]
        for path in found:
            again = 0.5 * path.acoustic - 0.3 * len(path.words)
            again += 2 * (0.3 * path.old + 0.7 * path.new)
            assert path.total == pytest.approx(again, abs=1e-6)


def test_what_is_left_of_old_scores_stays(tmp_path):
    """Kaldi's graphs: pronunciations and an old language model in one cost."""
    old, new = small_model(order=2), small_model(order=3)
    weights = RescoringWeights(lm_scale=1.7, mix=0.8, word_penalty=0.1)
    lattice = random_lattice(11, NGRAM_WORDS, finals=2)
    rescored = rescore_lattice(lattice, new, weights, old_model=old)
    found = {path.words: path for path in best_paths(rescored, weights, count=10_000)}
    wanted = {}
    for arcs, end in every_path(lattice):
        words = tuple(lattice.words[arc] for arc in arcs if lattice.words[arc])
        acoustic = sum(lattice.acoustic[arc] for arc in arcs) + lattice.finals[end][0]
        graph = sum(lattice.old[arc] for arc in arcs) + lattice.finals[end][1]
        one, two = (float(model.scores([" ".join(words)])[0]) for model in (old, new))
        total = acoustic + 1.7 * (graph + 0.8 * (two - one)) + 0.1 * len(words)
        wanted[words] = max(wanted.get(words, -math.inf), total)
    assert {words: path.total for words, path in found.items()} == pytest.approx(wanted, abs=1e-4)
    for path in found.values():
        language = 0.2 * path.old + 0.8 * path.new
        again = path.acoustic + 1.7 * language + 0.1 * len(path.words)
        assert again == pytest.approx(path.total, abs=1e-6)
    text = kaldi_of(lattice)
    (_, read), = read_lattices(write(tmp_path / "lat", text), "kaldi-lattice")  # fmt: skip
    lines = list(lattice_lines(rescore_lattice(read, new, weights, old_model=old), weights))
    path = write(tmp_path / "new", "\n".join(lines) + "\n")
    (_, again), = read_lattices(path, "kaldi-lattice")  # fmt: skip
    assert everything(again, weights) == pytest.approx(wanted, abs=1e-3)


def test_old_scores_that_are_unknown_do_not_count():
    lattice = random_lattice(1, NGRAM_WORDS)
    lattice = Lattice(**{**vars(lattice), "has_old": False, "old": 0 * lattice.old})
    weights, model = RescoringWeights(mix=0.25), small_model()
    rescored = rescore_lattice(lattice, model, weights)
    assert best_paths(rescored, weights)[0].total == pytest.approx(
        expected(lattice, model, weights, 1.0)[0][1], abs=1e-4
    )


def test_states_of_ngrams_are_merged():
    """As many places as contexts that differ, not as paths."""
    steps = 12
    sources = np.repeat(np.arange(steps), 2)
    words = ["w0", "w1"] * steps
    zero = np.zeros(2 * steps)
    lattice = Lattice("u", 0, sources, sources + 1, words, zero, zero, {steps: (0.0, 0.0)}, False)
    rescored = rescore_lattice(lattice, small_model(order=3), RescoringWeights())
    assert rescored.nodes <= 1 + 4 * steps
    found = best_paths(rescored, RescoringWeights(), count=2**steps)
    assert len(found) == 2**steps


def test_limited_states_are_the_best_so_far():
    net, weights = small_net(cell="lstm"), RescoringWeights(mix=1.0)
    lattice = random_lattice(3, WORDS[:4], nodes=9)
    exact = best_paths(rescore_lattice(lattice, net, weights, states=0), weights)[0]
    totals = []
    for states in (1, 2, 8, 500):
        rescored = rescore_lattice(lattice, net, weights, states=states)
        counts = np.bincount([0, *rescored.targets.tolist()])
        assert rescored.nodes <= 9 * states
        assert counts.size == rescored.nodes
        totals.append(best_paths(rescored, weights)[0].total)
    assert all(total <= exact.total + 1e-5 for total in totals)
    assert totals[-1] == pytest.approx(exact.total, abs=1e-5)


def slf_of(lattice, on_nodes=False, base=None):
    """The lattice as HTK writes it."""
    unit = math.log(base) if base else 1.0
    lines = ["VERSION=1.0", "UTTERANCE=utt", "lmscale=8.0 wdpenalty=0.00"]
    lines += [f"base={base}"] if base is not None else []
    lines.append(f"N={lattice.nodes} L={len(lattice.words)}")
    lines += [f"I={node}\tt={node / 10:.2f}" for node in range(lattice.nodes)]
    for arc, (a, b) in enumerate(zip(lattice.sources, lattice.targets, strict=True)):
        sound, language = lattice.acoustic[arc] / unit, lattice.old[arc] / unit
        if base == 0:
            sound, language = math.exp(lattice.acoustic[arc]), math.exp(lattice.old[arc])
        word = lattice.words[arc] or "!NULL"
        lines.append(f"J={arc} S={a} E={b} W={word} v=1 a={sound:.8f} l={language:.8f}")
    return "\n".join(lines) + "\n"


def kaldi_of(lattice, compact=True, labels=None):
    lines = ["utt "]
    pairs = zip(lattice.sources, lattice.targets, strict=True)
    for arc, (a, b) in enumerate(pairs):
        word = lattice.words[arc] or "<eps>"
        label = labels[word] if labels else word
        costs = f"{-lattice.old[arc]:.8f},{-lattice.acoustic[arc]:.8f}"
        lines.append(f"{a}\t{b}\t{label}\t{costs},3_{arc}" if compact else
                     f"{a} {b} {arc} {label} {costs}")  # fmt: skip
    for node, (acoustic, old) in lattice.finals.items():
        lines.append(f"{node}\t{-old:.8f},{-acoustic:.8f}" + (",7_8" if compact else ""))
    return "\n".join([*lines, "", ""])


def everything(lattice, weights):
    paths = best_paths(lattice, weights, count=10_000)
    return {path.words: path.total for path in paths}


FILES = {
    "slf": (lambda lattice: slf_of(lattice), "u.slf", "slf"),
    "slf base 10": (lambda lattice: slf_of(lattice, base=10), "u.slf.gz", "slf"),
    "slf probabilities": (lambda lattice: slf_of(lattice, base=0), "u.lat", "slf"),
    "compact": (lambda lattice: kaldi_of(lattice), "lat.txt", "kaldi-lattice"),
    "not compact": (lambda lattice: kaldi_of(lattice, False), "lat.gz", "kaldi-lattice"),
}


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_and_written(tmp_path, name):
    make, file, format = FILES[name]
    model, weights = small_model(order=3), RescoringWeights(lm_scale=1.5, mix=0.6)
    lattice = random_lattice(7, NGRAM_WORDS, finals=2 if format == "kaldi-lattice" else 1)
    path = write(tmp_path / file, make(lattice))
    assert detect_format(path) == format
    (_, read), = read_lattices(path, format)  # fmt: skip
    assert read.utterance == "utt"
    unscored = RescoringWeights(lm_scale=1.5, mix=0.6)
    assert everything(read, unscored) == pytest.approx(everything(lattice, unscored), abs=1e-4)
    rescored = rescore_lattice(read, model, weights)
    wanted = everything(rescored, weights)
    lines = list(lattice_lines(rescored, weights))
    path = write(tmp_path / file, "\n".join(lines) + "\n")
    (_, again), = read_lattices(path, format)  # fmt: skip
    # Its language model's scores are the mixed ones now.
    assert everything(again, weights) == pytest.approx(wanted, abs=1e-3)
    if name == "compact":
        assert any(",3_" in line for line in lines)
        assert any(line.endswith(",7_8") for line in lines)


def test_words_on_nodes(tmp_path):
    text = (
        "VERSION=1.1\nN=4 L=4\nI=0 t=0.0 W=!NULL\nI=1 t=0.3 W=w1\nI=2 t=0.4 W=\\'w2\n"
        "I=3 t=0.9 W=</s>\nJ=0 S=0 E=1 a=-1 l=-2\nJ=1 S=0 E=2 a=-3 l=-1\nJ=2 S=1 E=3 a=-1\n"
        "J=3 S=2 E=3 a=-1\n"
    )
    (name, lattice), = read_lattices(write(tmp_path / "a.slf", text), "slf")  # fmt: skip
    assert (name, lattice.utterance) == ("a.slf", "a")
    found = everything(lattice, RescoringWeights())
    assert found == pytest.approx({("w1",): -4.0, ("'w2",): -5.0})


def test_as_srilm_writes_them(tmp_path):
    """Long names of fields, comments, start and end named, the base of its logarithms."""
    text = (
        "# Header (generated by SRILM)\nVERSION=1.1\nUTTERANCE=lat\nbase=10\ndir=f\n"
        "start=5 end=1\nNODES=4 LINKS=4\n# Nodes\nI=1 W=!NULL\nI=2 W=w1\nI=3 W=w2\n"
        'I=5 WORD="!NULL"\n# Links\nJ=0 START=5 END=2 acoustic=-1 language=-0.5\n'
        "J=1 S=5 E=3 a=-2 l=-0.25\nJ=2 S=2 E=1 a=0 l=-1\nJ=3 S=3 E=1 a=0 l=-1\n"
    )
    (_, lattice), = read_lattices(write(tmp_path / "x.slf", text), "slf")  # fmt: skip
    found = everything(lattice, RescoringWeights())
    assert found == pytest.approx({("w1",): -2.5 * math.log(10), ("w2",): -3.25 * math.log(10)})
    lines = list(lattice_lines(lattice, RescoringWeights()))
    assert "base=10" in lines
    (_, again), = read_lattices(write(tmp_path / "y.slf", "\n".join(lines)), "slf")  # fmt: skip
    assert everything(again, RescoringWeights()) == pytest.approx(found, abs=1e-4)


def test_kaldi_symbols_and_several_utterances(tmp_path):
    labels = {"<eps>": 0, "w0": 1, "w1": 2, "w2": 3, "w3": 4, "nobody": 5}
    table = tmp_path / "words.txt"
    table.write_text("".join(f"{word} {number}\n" for word, number in labels.items()))
    lattices = [random_lattice(seed, NGRAM_WORDS) for seed in (1, 2)]
    texts = [kaldi_of(lattice, labels=labels) for lattice in lattices]
    path = write(tmp_path / "lat.txt", "".join(texts).replace("utt", "one", 1))
    assert detect_format(path) == "kaldi-lattice"
    read = [lattice for _, lattice in read_lattices(path, "kaldi-lattice", symbols=str(table))]
    assert [lattice.utterance for lattice in read] == ["one", "utt"]
    for got, wanted in zip(read, lattices, strict=True):
        assert got.words == wanted.words
    lines = list(lattice_lines(read[0], RescoringWeights()))
    assert lines[1].split("\t")[2].isdecimal()


def test_arcs_and_ends_without_weights(tmp_path):
    path = write(tmp_path / "l", "u\n0 1 a\n1 2 3 b\n2 3 4 c 1,2\n3\n")
    (_, lattice), = read_lattices(path, "kaldi-lattice")  # fmt: skip
    assert lattice.words == ["a", "b", "c"]
    assert (lattice.old.tolist(), lattice.acoustic.tolist()) == ([0, 0, -1], [0, 0, -2])
    assert lattice.finals == {3: (0, 0)}


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("slf", "VERSION=1.0\n", "x: is no lattice: it lacks nodes"),
        ("slf", "I=0\nI=0\n", "x:2: node 0 comes twice"),
        ("slf", "I=0\nI=1\nJ=0 S=0 E=5\n", "x:3: there is no node 5"),
        ("slf", "I=0\nI=1\nJ=0 S=0 E=1 a=x\n", "x:3: a is 'x', not a finite number"),
        ("slf", "I=0\nI=1\nJ=0 S=0 E=one\n", "x:3: E is 'one', not a whole number"),
        ("slf", "base=1\nI=0\nI=1\nJ=0 S=0 E=1\n", "x: base is 1"),
        ("slf", "base=0\nI=0\nI=1\nJ=0 S=0 E=1 a=-1\n", "x:4: a is -1"),
        ("slf", "words\n", "x:1: is 'words', without a field such as I=0"),
        ("slf", "I=0\nI=1\nI=2\nJ=0 S=0 E=2\nJ=1 S=1 E=2\n", "2 nodes have no link into them"),
        ("slf", "I=0 W=a\nI=1\nJ=0 S=0 E=1\n", "its first node has the word 'a'"),
        ("slf", "start=7\nI=0\nI=1\nJ=0 S=0 E=1\n", "start is 7, and there is no such node"),
        ("slf", "SUBLAT=x\n", "x:1: has sub-lattices"),
        ("kaldi-lattice", "0 1 a\n1\n", "x:1: is not the name of an utterance"),
        ("kaldi-lattice", "u\n0 1 a b,c\n1\n", "x:2: the graph's cost is 'b'"),
        ("kaldi-lattice", "u\n0 1 a 1,2 5 6\n1\n", "x:2: has 6 columns"),
        ("kaldi-lattice", "u\nx 1 a 1,2\n1\n", "x:2: the state is 'x'"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path, monkeypatch, format, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text(text)
    with pytest.raises(TextError, match=message):
        list(read_lattices("x", format))


def test_bad_lattices_and_settings(tmp_path):
    circle = write(tmp_path / "c", "u\n0 1 a 1,2\n1 0 b 1,2\n1 0,0\n")
    (_, lattice), = read_lattices(circle, "kaldi-lattice")  # fmt: skip
    model, weights = small_model(), RescoringWeights()
    with pytest.raises(TextError, match="u: a path comes back to where it was"):
        rescore_lattice(lattice, model, weights)
    endless = write(tmp_path / "e", "u\n0 1 a 1,2\n2 0,0\n")
    (_, lattice), = read_lattices(endless, "kaldi-lattice")  # fmt: skip
    with pytest.raises(TextError, match="u: no path leads from its start to an end"):
        rescore_lattice(lattice, model, weights)
    with pytest.raises(SettingError, match="states is -1"):
        rescore_lattice(lattice, model, weights, states=-1)
    letters = small_model()
    letters = type(letters)(letters.trie, letters.vocabulary, {"text": {"tokens": "char"}})
    with pytest.raises(SettingError, match="lattices hold words"):
        rescore_lattice(lattice, letters, weights)
    with pytest.raises(SettingError, match="'pfsg', allowed are slf, kaldi-lattice"):
        list(read_lattices(circle, "pfsg"))
    with pytest.raises(SettingError, match="a symbol table belongs to Kaldi's lattices"):
        list(read_lattices(circle, "slf", symbols="w"))


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("0 ||| a ||| LM0= -1 ||| -2\n", "moses"),
        ("NBestList2.0\n(-1) a\n", "srilm"),
        ("utt-1 the cat\n", None),
        ("", None),
        ("# made by hand\nVERSION=1.0\n", "slf"),
    ],
)
def test_formats_are_detected(tmp_path, text, format):
    assert detect_format(write(tmp_path / "f", text)) == format
