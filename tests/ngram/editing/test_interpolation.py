"""Quantized models of interpolated ones: discounted probabilities, mixed as they are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corpora import ids_of, model_of
from corpora import zipf_sentences as text_of
from unrolled.errors import FormatError
from unrolled.integrations import kenlm
from unrolled.ngram.editing.pruning import entropy_prune
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import PackedTrie, pack
from unrolled.storage.loading import load

KINDS = [(2, "witten-bell"), (3, "modified-kneser-ney"), (5, "modified-kneser-ney")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[1]}-{kind[0]}")
def pair(request: pytest.FixtureRequest) -> tuple[NgramModel, NgramModel]:
    """An interpolated model with codes, and one with the numbers that follow from them."""
    order, smoothing = request.param
    coded = quantize(model_of(text_of(20_000, 1000, seed=2), 1000, order, smoothing=smoothing))
    assert coded.trie.interpolated
    return coded, NgramModel(pack(coded.trie.unpack()), coded.vocabulary, coded.config)


def test_running_text_scores_as_by_the_numbers(pair: tuple[NgramModel, NgramModel]) -> None:
    coded, plain = pair
    ids = ids_of(text_of(5000, 1100, seed=3))
    np.testing.assert_allclose(coded.log_probs(ids), plain.log_probs(ids), atol=1e-5)
    words = coded.vocabulary.words(np.minimum(ids, 999))
    (one, other) = (model.token_scores([" ".join(words[1:500])]) for model in pair)
    np.testing.assert_array_equal(one.lengths, other.lengths)


def test_steps_beams_and_sentences_score_alike(pair: tuple[NgramModel, NgramModel]) -> None:
    coded, plain = pair
    ids = ids_of(text_of(400, 1000, seed=4))
    ids = ids[ids > 2]
    for one, other in zip(*(_steps(model, ids) for model in pair), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    states, words = coded.start_states(50), ids[:50].astype(np.int64)
    for _ in range(3):
        (after, scores), (_, wanted) = (model.extend(states, words) for model in pair)
        np.testing.assert_allclose(scores, wanted, atol=1e-5)
        states = after
    text = " ".join(coded.vocabulary.words(ids[:30]))
    assert coded.score(text) == pytest.approx(plain.score(text), abs=1e-4)
    rows = [list(kenlm.Model.from_model(model).full_scores(text)) for model in pair]
    assert [row[1:] for row in rows[0]] == [row[1:] for row in rows[1]]
    assert [row[0] for row in rows[0]] == pytest.approx([row[0] for row in rows[1]], abs=1e-5)


def _steps(model: NgramModel, ids: Any) -> list[float]:
    state, scores = model.start(), []
    for word in ids[:100].tolist():
        state, score, _ = model.step(state, word)
        scores.append(score)
    return scores


def test_distributions_follow_from_the_numbers(pair: tuple[NgramModel, NgramModel]) -> None:
    for state in (pair[0].start(), pair[0].start(bos=False)):
        one, other = (model.next_log_probs(state) for model in pair)
        np.testing.assert_array_equal(one, other)


def test_files_hold_no_more_than_codes_and_weights(
    pair: tuple[NgramModel, NgramModel], tmp_path: Any
) -> None:
    coded = pair[0]
    longer = int(coded.trie.levels[-1] - coded.trie.levels[1])
    assert coded.trie.codes.nbytes <= longer + 8 * coded.order
    assert coded.trie.weights.size == coded.trie.ends.size
    coded.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    ids = ids_of(text_of(500, 1000, seed=5))
    np.testing.assert_array_equal(again.log_probs(ids), coded.log_probs(ids))


def test_models_that_are_not_interpolated_have_weights() -> None:
    katz = model_of(text_of(5000, 300, seed=2), 300, 3, smoothing="katz")
    assert not quantize(katz).trie.interpolated
    pruned = entropy_prune(model_of(text_of(20_000, 300, seed=2), 300, 3), 1e-4)
    assert quantize(pruned).trie.backoff_count > 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("code_bits", lambda a: a * 0 + 9, "codes of .* bits are not of 1 to 8"),
        ("codes", lambda a: a[:-1], "array 'codes' has the shape"),
        ("weights", lambda a: a[:-1], "weights for .* ends"),
        ("code_bits", lambda a: a[:-1], "array 'code_bits' has the shape"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(name: str, change: Any, message: str) -> None:
    arrays = quantize(model_of(text_of(2000, 100, seed=2), 100, 3)).trie.arrays()
    with pytest.raises(FormatError, match=f"^here: .*{message}"):
        PackedTrie.from_arrays(arrays | {name: change(arrays[name])}, "here")
