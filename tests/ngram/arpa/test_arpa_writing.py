"""Writing ARPA files: the text, what is refused, and KenLM reading it."""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.ngram.arpa_files import GOOD, LN10, SECTIONS, THE_CAT, changed, log10, read

from unrolled import TextOptions, train_ngram
from unrolled.errors import FormatError, NotNormalisedError
from unrolled.ngram.arpa.files import read_arpa, write_arpa
from unrolled.ngram.model import NgramModel
from unrolled.text.vocabulary import Vocabulary


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lm.arpa"


def test_the_text_that_is_written(path: Path) -> None:
    write_arpa(read(path, GOOD), path)
    head, unigrams, bigrams, trigrams, end = path.read_text().split("\n\n")
    assert head == "\\data\\\nngram 1=5\nngram 2=3\nngram 3=1"
    assert f"{unigrams}\n" == SECTIONS[0]
    assert sorted(bigrams.splitlines()) == sorted(SECTIONS[1].splitlines())
    assert f"{trigrams}\n" == SECTIONS[2]
    assert end == "\\end\\\n"


def test_log_zero_is_written_as_it_is_usual(path: Path) -> None:
    write_arpa(read(path, changed("-1\tcat\t-0.5", "-inf\tcat\t-inf", "-0.75\t", "-0\t")), path)
    lines = path.read_text().splitlines()
    assert "-99\tcat\t-99" in lines
    assert "0\t</s>\t0" in lines
    assert "-0" not in re.split(r"[\t\n]", path.read_text())


def test_equal_models_make_equal_files_gzipped_too(path: Path) -> None:
    model = read(path, GOOD)
    packed = path.with_suffix(".arpa.gz")
    write_arpa(model, path)
    write_arpa(model, packed)
    first = packed.read_bytes()
    assert gzip.decompress(first) == path.read_bytes()
    write_arpa(read_arpa(packed), packed)
    assert packed.read_bytes() == first


def test_lines_longer_than_a_block(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unrolled.ngram.arpa import files as arpa

    model = read(path, GOOD.replace("cat", "c" * 5000))
    write_arpa(model, path)
    whole = path.read_bytes()
    monkeypatch.setattr("unrolled.ngram.trie.lines.BLOCK_BYTES", 10)
    write_arpa(model, path)
    assert path.read_bytes() == whole
    monkeypatch.setattr(arpa, "MAX_LINE", 4000)
    with pytest.raises(FormatError, match="an n-gram has 50.. bytes, and a line of an ARPA file"):
        write_arpa(model, path)
    assert path.read_bytes() == whole


def test_order_1_and_orders_without_ngrams(path: Path) -> None:
    model = read(path, "\\data\\\nngram 1=3\n\\1-grams:\n-1 <unk>\n0 <s>\n-1 </s>\n\\end\\\n")
    write_arpa(model, path)
    assert path.read_text().splitlines()[4:7] == ["-1\t<unk>", "0\t<s>", "-1\t</s>"]
    assert np.array_equal(read_arpa(path).trie.unigrams, model.trie.unigrams)
    empty = read(path, changed("3=1", "3=1\nngram 4=0\nngram 5=0"))
    write_arpa(empty, path)
    assert read_arpa(path).order == 5
    assert log10(read_arpa(path), "the cat") == pytest.approx(THE_CAT, abs=1e-6)


def test_stupid_backoff_cannot_be_written(path: Path) -> None:
    model = read(path, GOOD)
    stupid = NgramModel(model.trie, model.vocabulary, {"smoothing": "stupid-backoff"})
    before = path.read_bytes()
    with pytest.raises(NotNormalisedError, match="an ARPA file needs probabilities"):
        write_arpa(stupid, path)
    assert path.read_bytes() == before


def test_a_damaged_model_is_not_written(path: Path, tmp_path: Path) -> None:
    model = read(path, GOOD)
    arrays = model.vocabulary.arrays()
    arrays["offsets"] = arrays["offsets"].copy()
    arrays["offsets"][4] = 2**32 - 1
    damaged = NgramModel(model.trie, Vocabulary.from_arrays(arrays, "lm.bin"), path="lm.bin")
    with pytest.raises(FormatError, match=r"lm.bin: the vocabulary has a word outside its text"):
        write_arpa(damaged, tmp_path / "out.arpa")
    assert not (tmp_path / "out.arpa").exists()


def test_progress_of_writing_counts_ngrams(path: Path) -> None:
    steps: list[int] = []
    write_arpa(read(path, GOOD), path, progress=steps.append)
    assert steps == [5, 8, 9]


# -- KenLM -----------------------------------------------------------------------------------------

SENTENCES = ["the cat", "cat the", "", "dog", "the dog cat the cat", "<unk> cat"]


def random_arpa(seed: int, words: int = 60, order: int = 4) -> str:
    """A closed set of n-grams with random numbers, as lmplz would lay it out."""
    rng = random.Random(seed)
    names = ["<unk>", "<s>", "</s>", *(f"w{n}" for n in range(words))]
    grams = {(id,) for id in range(len(names))}
    for _ in range(600):
        path = [1, *rng.choices(range(3, len(names)), k=order), 2]
        for begin in range(len(path)):
            for end in range(begin + 1, min(begin + order, len(path)) + 1):
                grams.add(tuple(path[begin:end]))
    lines = ["\\data\\"]
    by_order = [[g for g in sorted(grams) if len(g) == n] for n in range(1, order + 1)]
    lines += [f"ngram {n}={len(rows)}" for n, rows in enumerate(by_order, 1)]
    for n, rows in enumerate(by_order, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram in rows:
            weight = f"\t{-rng.random():.7g}" if n < order else ""
            lines.append(f"{-4 * rng.random():.7g}\t{' '.join(names[id] for id in gram)}{weight}")
    return "\n".join([*lines, "", "\\end\\", ""])


def test_kenlm_reads_what_we_write_and_scores_the_same(path: Path) -> None:
    kenlm = pytest.importorskip("kenlm")
    path.write_text(random_arpa(1))
    ours = read_arpa(path)
    written = path.with_name("written.arpa")
    write_arpa(ours, written)
    config = kenlm.Config()
    config.show_progress = False
    first, second = (kenlm.Model(str(file), config) for file in (path, written))
    rng = random.Random(2)
    for _ in range(300):
        sentence = " ".join(f"w{rng.randrange(64)}" for _ in range(rng.randrange(12)))
        expected = list(first.full_scores(sentence))
        again = list(second.full_scores(sentence))
        tokens = ours.token_scores([sentence])
        scores = tokens.log_probs[tokens.ids != 1] / LN10
        assert [row[1:] for row in expected] == [row[1:] for row in again]
        assert [row[0] for row in again] == pytest.approx([row[0] for row in expected], abs=2e-6)
        assert scores.tolist() == pytest.approx([row[0] for row in expected], abs=2e-6)
        assert tokens.lengths[tokens.ids != 1].tolist() == [row[1] for row in expected]


@pytest.mark.parametrize("options", [TextOptions(), TextOptions(tokens="char", lower=True)])
def test_how_the_text_was_cut_travels_in_a_comment(path: Path, options: TextOptions) -> None:
    settings: dict[str, Any] = {"order": 2, "smoothing": "witten-bell", "options": options}
    model = train_ngram(texts=["The Cat", "the dog"], **settings)
    write_arpa(model, path)
    assert path.read_text().startswith(f'# unrolled text options: {{"tokens": "{options.tokens}"')
    again = read_arpa(path)
    assert again.text_options == options
    assert again.score("The Dog") == model.score("The Dog")
    first = path.read_bytes()
    write_arpa(again, path)
    assert path.read_bytes() == first
    kenlm = pytest.importorskip("kenlm")
    assert kenlm.Model(str(path)).order == 2


def test_a_file_without_the_comment_stays_without(path: Path) -> None:
    write_arpa(read(path, GOOD), path)
    assert path.read_bytes().startswith(b"\\data\\\n")
    assert "text" not in read_arpa(path).config


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("{", r":1: '{' are no text options. Remove the line"),
        ("[]", r":1: '\[\]' are no text options"),
    ],
)
def test_a_broken_comment_is_named(path: Path, comment: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(path, f"# unrolled text options: {comment}\n{GOOD}")
    model = read(path, f'# unrolled text options: {{"tokens": "syllable"}}\n{GOOD}')
    with pytest.raises(FormatError, match="text options are not understood: tokens is 'syllable'"):
        model.score("the cat")
