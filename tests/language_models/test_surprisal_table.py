"""Tables of surprisals: equal to scores by word, whatever the tokens are."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chain_model import CHAIN, TEXTS, Chain
from unrolled import TextOptions, quantize, read_arpa, train_ngram
from unrolled.compilation import ARPA
from unrolled.errors import NotNormalisedError, SettingError, TextError
from unrolled.language_models.cache import CacheModel
from unrolled.language_models.evaluation import evaluate
from unrolled.language_models.mixture import Mixture
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.scoring import surprisals
from unrolled.language_models.surprisal_table import surprisal_table
from unrolled.ngram.model import NgramModel

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

SENTENCES = ["the cat is small", "a  bird sat", "", "dog ", "the cat, sat"]


def rows_of(models: Any, table: Any, **settings: Any) -> list[dict[str, Any]]:
    return list(surprisal_table(models, table, **settings))


def piece_model(folder: Path) -> str:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=model, vocab_size=24, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    path = folder / "pieces.model"
    path.write_bytes(model.getvalue())
    return str(path)


@pytest.mark.parametrize("tokens", ["word", "char", "byte", "pieces"])
@pytest.mark.parametrize("more", [{}, {"lower": True}, {"normalise": "nfkc"}])
def test_tables_have_the_sums_of_scores_by_word(
    tmp_path: Path, tokens: str, more: dict[str, Any]
) -> None:
    if tokens == "pieces":
        tokens = piece_model(tmp_path)
    options = TextOptions(tokens=tokens, **more)
    model = train_ngram(texts=TEXTS, order=3, smoothing="witten-bell", options=options)
    texts = [*SENTENCES, "The İstanbul ﬁsh ΟΔΟΣ.\r\nsat … 你好 मि"]
    rows = rows_of(model, texts, eos=True)
    assert [row["word"] for row in rows if row["row"] == 6] == (
        ["The", "İstanbul", "ﬁsh", "ΟΔΟΣ.", "sat", "…", "你好", "मि", "</s>"]
    )
    assert {row["row"] for row in rows} == {1, 2, 4, 5, 6}
    for number, text in enumerate(texts, 1):
        own = [row["surprisal"] for row in rows if row["row"] == number]
        if own:
            expected = math.fsum(token.bits for token in surprisals(model, [text]))
            assert math.fsum(own) == pytest.approx(expected, rel=1e-9)
    if tokens == "word" and not more:
        by_word = [token.bits for token in surprisals(model, [t for t in texts if t])]
        assert [row["surprisal"] for row in rows] == pytest.approx(by_word, rel=1e-12)


def test_values_by_hand() -> None:
    rows = rows_of(Chain(CHAIN), ["a b", "b zzz"], eos=True)
    assert [row["surprisal"] for row in rows] == pytest.approx(
        [1, 1, -math.log2(0.75), 2, 2, 0], abs=1e-6
    )
    first = 0.5 * 1 + 0.25 * 2 + 2 * 0.125 * 3
    after_b = -0.75 * math.log2(0.75) + 0.25 * 2
    assert [row["entropy"] for row in rows] == pytest.approx(
        [first, 1, after_b, first, after_b, 0], abs=1e-6
    )
    assert [row["next_entropy"] for row in rows] == pytest.approx(
        [1, after_b, None, after_b, 0, None], abs=1e-6
    )
    assert [row["oov"] for row in rows] == [0, 0, 0, 0, 1, 0]
    assert [row["position"] for row in rows] == [1, 2, 3, 1, 2, 3]
    assert [row["length"] for row in rows] == [1, 1, None, 1, 3, None]
    assert "log_frequency" not in rows[0]


@pytest.mark.parametrize(
    "smoothing", ["witten-bell", "kneser-ney", "absolute", "additive", "maximum-likelihood"]
)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_entropies_of_ngrams_are_those_of_the_whole_distribution(
    smoothing: str, order: int
) -> None:
    random = np.random.default_rng(order)
    texts = [" ".join(random.choice(list("abcdefgh"), 6)) for _ in range(60)]
    texts += ["once b", "twice", "twice"]
    model = train_ngram(texts=texts, order=order, smoothing=smoothing, min_count=2)
    ids = model.vocabulary.encode_block(b"a b c d\nzzz a <unk> b\n\nh h h h h\n").ids
    for asked in (model, quantize(model)):
        expected = LanguageModel.entropies(asked, ids)
        np.testing.assert_allclose(asked.entropies(ids), expected, atol=2e-6)
        assert expected[ids == 1].tolist() == [0] * 4


def test_entropies_of_a_model_that_is_not_complete(tmp_path: Path) -> None:
    """An n-gram whose end is no n-gram, contexts without weight, words of probability 0."""
    path = tmp_path / "a.arpa"
    path.write_text(ARPA)
    model = read_arpa(path)
    ids = model.vocabulary.encode_block(b"a a a b\nb a\na b zzz\n").ids
    np.testing.assert_allclose(model.entropies(ids), LanguageModel.entropies(model, ids), atol=1e-6)


def test_options_are_one_or_one_for_each_model(model: NgramModel) -> None:
    with pytest.raises(SettingError, match="there are 2 options for 1 models"):
        list(surprisal_table(model, ["a b"], options=[TextOptions(), TextOptions()]))


def test_columns_of_the_input_are_kept(model: NgramModel) -> None:
    table = [{"item": 3, "word": "x", "text": "the cat"}, {"item": 4, "word": "y", "text": "sat"}]
    found = surprisal_table({"one": model, "two": Chain(CHAIN)}, table)
    assert len(found.columns) == 16
    rows = list(found)
    assert [(row["item"], row["input_word"], row["word"]) for row in rows] == [
        (3, "x", "the"), (3, "x", "cat"), (4, "y", "sat"),
    ]  # fmt: skip
    assert found.columns == [
        "item", "input_word", "text", "row", "position", "word", "length", "surprisal_one",
        "entropy_one", "next_entropy_one", "oov_one", "log_frequency_one", "surprisal_two",
        "entropy_two", "next_entropy_two", "oov_two",
    ]  # fmt: skip
    assert list(rows[0]) == found.columns
    frame = pytest.importorskip("pandas").DataFrame(table)
    again = surprisal_table([model], frame, text=False).to_pandas()
    assert again["surprisal"].tolist() == [row["surprisal_one"] for row in rows]
    assert "text" not in again.columns


def test_log_frequency_is_in_a_million_words() -> None:
    model = train_ngram(texts=["a a a b"], order=1, smoothing="maximum-likelihood")
    rows = rows_of(model, ["a b zzz"])
    share = [math.exp(model.unigram_log_probs()[model.vocabulary.id(word)]) for word in "ab"]
    assert [row["log_frequency"] for row in rows] == [
        pytest.approx(math.log10(share[0] * 1e6)), pytest.approx(math.log10(share[1] * 1e6)), None,
    ]  # fmt: skip


def test_punctuation_is_attached_apart_or_summed() -> None:
    model = train_ngram(texts=["he did n't sit , sat ."] * 3, order=2, smoothing="witten-bell")
    text = "he didn't sit, sat."
    attached, apart, summed = (
        rows_of(model, [text], punctuation=how) for how in ("attached", "apart", "summed")
    )
    assert [row["word"] for row in attached] == ["he", "didn't", "sit,", "sat."]
    assert [row["oov"] for row in attached] == [0, 1, 1, 1]
    assert [row["word"] for row in apart] == ["he", "did", "n't", "sit", ",", "sat", "."]
    assert [row["oov"] for row in apart] == [0] * 7
    assert [row["word"] for row in summed] == ["he", "didn't", "sit,", "sat."]
    bits = [row["surprisal"] for row in apart]
    assert [row["surprisal"] for row in summed] == pytest.approx(
        [bits[0], bits[1] + bits[2], bits[3] + bits[4], bits[5] + bits[6]]
    )
    assert summed[1]["entropy"] == apart[1]["entropy"]
    assert summed[1]["next_entropy"] == apart[2]["next_entropy"]
    characters = train_ngram(
        texts=[text], order=3, smoothing="witten-bell", options=TextOptions(tokens="char")
    )
    pieces = rows_of(characters, [text], punctuation="apart")
    assert math.fsum(row["surprisal"] for row in pieces) == pytest.approx(
        math.fsum(row["surprisal"] for row in rows_of(characters, [text]))
    )


def test_regions_in_a_text_and_in_rows(model: NgramModel) -> None:
    marked = rows_of(model, ["the cat | is small", "a|cat | sat"], region_mark="|")
    assert [(row["row"], row["region_number"], row["word"]) for row in marked] == [
        (1, 1, "the"), (1, 1, "cat"), (1, 2, "is"), (1, 2, "small"), (2, 1, "a"), (2, 2, "cat"),
        (2, 3, "sat"),
    ]  # fmt: skip
    plain = rows_of(model, ["the cat is small"])
    assert [row["surprisal"] for row in marked[:4]] == [row["surprisal"] for row in plain]
    assert [row["surprisal"] is None for row in marked[4:]] == [False, True, False]
    table = [
        {"item": 1, "text": "the cat", "zone": "np"}, {"item": 1, "text": "is small", "zone": "vp"},
        {"item": 2, "text": "the", "zone": "np"},
    ]  # fmt: skip
    grouped = rows_of(model, table, group_by="item")
    assert [row["surprisal"] for row in grouped[:4]] == [row["surprisal"] for row in plain]
    assert [row["zone"] for row in grouped] == ["np", "np", "vp", "vp", "np"]
    assert [row["region_number"] for row in grouped] == [1, 1, 2, 2, 1]
    with pytest.raises(SettingError, match="not by both"):
        rows_of(model, table, group_by="item", region_mark="|")
    with pytest.raises(SettingError, match="a row a region needs regions"):
        rows_of(model, table, by="region")


def test_texts_of_several_sentences(model: NgramModel) -> None:
    text = "the cat sat .\nthe dog is small . a cat"
    lines = rows_of(model, [text], sentences="lines")
    assert [row["sentence_number"] for row in lines] == [1] * 4 + [2] * 7
    assert [row["position"] for row in lines][:6] == [1, 2, 3, 4, 1, 2]
    marks = rows_of(model, ["The cat sat. The dog is small! A"], sentences="marks")
    assert [(row["sentence_number"], row["word"]) for row in marks][2:5] == [
        (1, "sat."), (2, "The"), (2, "dog"),
    ]  # fmt: skip
    expected = [token.bits for token in surprisals(model, text.split("\n")) if not token.last]
    assert [row["surprisal"] for row in lines] == pytest.approx(expected)


def test_a_row_a_region_sums_its_words(model: NgramModel) -> None:
    given = {"region_mark": "|", "eos": True}
    words = rows_of(model, [{"item": 1, "text": "the cat | zzz small"}], **given)
    regions = rows_of(model, [{"item": 1, "text": "the cat | zzz small"}], by="region", **given)
    assert [(row["item"], row["word"], row["words"], row["length"]) for row in regions] == [
        (1, "the cat", 2, 7), (1, "zzz small", 2, 9), (1, "</s>", 1, None),
    ]  # fmt: skip
    for region, (first, last) in zip(regions, [(0, 1), (2, 3), (4, 4)], strict=True):
        own = words[first : last + 1]
        assert region["surprisal"] == pytest.approx(sum(row["surprisal"] for row in own))
        assert region["entropy"] == own[0]["entropy"]
        assert region["next_entropy"] == own[-1]["next_entropy"]
        assert region["oov"] == max(row["oov"] for row in own)
    assert regions[1]["log_frequency"] == words[3]["log_frequency"]
    frequencies = [row["log_frequency"] for row in words[:2]]
    assert regions[0]["log_frequency"] == pytest.approx(sum(frequencies) / 2)
    skipped = rows_of(model, ["the cat | zzz"], by="region", unknown="skip", region_mark="|")
    assert [row["surprisal"] is None for row in skipped] == [False, True]


def test_frequencies_of_a_file(model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_text("<s>\t9\nthe\t3\nThe\t1\ncat\t0\nthe cat\t5\n")
    rows = rows_of({"a": model, "b": model}, ["the The cat zzz"], frequencies=path)
    assert [row["log_frequency"] for row in rows] == [
        pytest.approx(math.log10(0.75e6)), pytest.approx(math.log10(0.25e6)), None, None,
    ]  # fmt: skip
    assert not any("log_frequency_a" in row for row in rows)
    path.write_text("the\t3\nthe cat\n")
    with pytest.raises(TextError, match="counts:2: the line is no word, a tab and a count. Write"):
        rows_of(model, ["the"], frequencies=path)


def test_a_net_may_remember_the_text_before_a_sentence() -> None:
    small_nets = pytest.importorskip("small_nets")
    for net in (small_nets.small_model(), small_nets.small_model(output_layer="full")):
        model = Mixture([net, CacheModel(net.vocabulary)], [0.5, 0.5])
        texts = ["the cat sat\non the mat", "the dog ran\nthe dog zzz"]
        for one in (net, model):
            given = {"sentences": "lines", "eos": True}
            apart = rows_of(one, texts, **given)
            together = rows_of(one, texts, context="text", **given)
            first = [row["sentence_number"] == 1 for row in apart]
            same = [a["surprisal"] == pytest.approx(b["surprisal"], rel=1e-5)
                    for a, b in zip(apart, together, strict=True)]  # fmt: skip
            assert all(same[k] for k in range(len(same)) if first[k])
            assert not all(same)
            bits = sum(row["surprisal"] for row in together)
            lines = [evaluate(one, texts=text.split("\n")).log_prob for text in texts]
            assert bits == pytest.approx(-sum(lines) / math.log(2), rel=1e-5)
        ids = net.vocabulary.encode_block(b"the cat sat\non zzz mat\n\n").ids
        np.testing.assert_allclose(net.entropies(ids), LanguageModel.entropies(net, ids), rtol=1e-5)
        np.testing.assert_allclose(
            net.text_entropies(ids), LanguageModel.text_entropies(net, ids), rtol=1e-5
        )
        assert not np.allclose(net.text_entropies(ids)[5:], net.entropies(ids)[5:], rtol=1e-4)
    mixed = Mixture([small_nets.small_model(reset_state_per_sentence=True), net], [0.5, 0.5])
    state, found = mixed.start(), np.zeros(ids.size)
    for place, word in enumerate(ids.tolist()):
        found[place] = 0 if word == 1 else mixed.next_log_probs(state)[word]
        state = mixed.advance(state, word) if place else state
    np.testing.assert_allclose(found, mixed.text_log_probs(ids), rtol=1e-4)
    fresh = small_nets.small_model(reset_state_per_sentence=True, maxent_size=100)
    np.testing.assert_array_equal(fresh.text_entropies(ids), fresh.entropies(ids))
    np.testing.assert_allclose(fresh.entropies(ids), LanguageModel.entropies(fresh, ids), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_batches_change_nothing(
    model: NgramModel, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["the cat\nsat", "a dog\n\nsat on", "the"]
    whole = rows_of(model, texts, sentences="lines", context="text")
    monkeypatch.setattr("unrolled.language_models.surprisal_table._BATCH", size)
    assert rows_of(model, texts, sentences="lines") == whole
    assert rows_of(model, texts, sentences="lines", context="text") == whole


def test_what_is_refused(model: NgramModel, stupid: NgramModel) -> None:
    with pytest.raises(NotNormalisedError, match="surprisal needs probabilities"):
        surprisal_table(stupid, ["a"])
    with pytest.raises(SettingError, match="one model or more, not 0"):
        surprisal_table([], ["a"])
    with pytest.raises(SettingError, match="punctuation is 'x', allowed are attached"):
        surprisal_table(model, ["a"], punctuation="x")
    with pytest.raises(SettingError, match="there is no setting 'punktuation'"):
        surprisal_table(model, ["a"], punktuation="x")
