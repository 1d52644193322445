"""The CRF against sums over all tag sequences, one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from unrolled.tagging.data.tags import TagSet
from unrolled.tagging.net.crf import LinearChainCRF, log_partition_by_torch

K = 3
LENGTHS = [1, 4, 2, 3]
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])


def _crf(seed: int = 1, scale: float = 1.0, allowed: np.ndarray | None = None) -> LinearChainCRF:
    torch.manual_seed(seed)
    crf = LinearChainCRF(K, allowed).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_(std=scale)
    return crf


def _emissions(scale: float = 1.0) -> torch.Tensor:
    torch.manual_seed(7)
    return scale * torch.randn(int(OFFSETS[-1]), K, dtype=torch.float64)


def _all_scores(crf: LinearChainCRF, rows: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    transitions, start, end = crf.scores()
    scores = {}
    for tags in itertools.product(range(K), repeat=len(rows)):
        score = start[tags[0]] + end[tags[-1]]
        for place, tag in enumerate(tags):
            score = score + rows[place, tag]
        for one, other in itertools.pairwise(tags):
            score = score + transitions[one, other]
        scores[tags] = score
    return scores


def _sentences(emissions: torch.Tensor) -> list[torch.Tensor]:
    return list(emissions.split(LENGTHS))


@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_log_partition_and_its_gradients_are_those_of_the_whole_sum(scale: float) -> None:
    crf, emissions = _crf(scale=scale), _emissions(scale).requires_grad_()
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    found = crf.log_partition(emissions, OFFSETS)
    every = [_all_scores(crf, rows) for rows in _sentences(emissions)]
    wanted = torch.stack([torch.stack(list(scores.values())).logsumexp(0) for scores in every])
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    inputs = [emissions, *crf.parameters()]
    pairs = zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((wanted * weights).sum(), inputs),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scheme", ["IO", "BIO", "IOBES"])
@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_log_partition_by_torch_is_that_of_the_kernels(scheme: str, scale: float) -> None:
    tags = TagSet.of([["B-X", "B-Y"]], scheme, output_scheme="BIO")
    torch.manual_seed(3)
    crf = LinearChainCRF(len(tags), tags.allowed()).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_(std=scale)
    emissions = (scale * torch.randn(int(OFFSETS[-1]), len(tags))).double().requires_grad_()
    found = log_partition_by_torch(emissions, *crf.scores(), OFFSETS)
    wanted = crf.log_partition(emissions, OFFSETS)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    weights, inputs = torch.tensor([0.5, 1.0, 2.0, 3.0]).double(), [emissions, *crf.parameters()]
    gradients = (torch.autograd.grad((each * weights).sum(), inputs) for each in (found, wanted))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_log_likelihoods_of_all_sequences_sum_to_one() -> None:
    crf, emissions = _crf(), _emissions()[:4]
    total = 0.0
    for tags in itertools.product(range(K), repeat=4):
        total += float(
            crf.log_likelihood(emissions, np.array([0, 4]), torch.tensor(tags)).exp().detach()
        )
    assert total == pytest.approx(1, abs=1e-12)


def test_log_likelihood_of_sentences_end_to_end_is_that_of_each_alone() -> None:
    crf, emissions = _crf(), _emissions()
    tags = torch.randint(0, K, (len(emissions),))
    together = crf.log_likelihood(emissions, OFFSETS, tags)
    for number, (low, high) in enumerate(itertools.pairwise(OFFSETS.tolist())):
        alone = crf.log_likelihood(emissions[low:high], np.array([0, high - low]), tags[low:high])
        torch.testing.assert_close(together[number], alone[0])


@pytest.mark.parametrize("seed", range(5))
def test_viterbi_and_n_best_find_what_trying_all_finds(seed: int) -> None:
    crf, emissions = _crf(seed), _emissions()
    decoded = np.split(crf.decode(emissions, OFFSETS), OFFSETS[1:-1])
    for rows, best in zip(_sentences(emissions), decoded, strict=True):
        scores = {tags: float(score.detach()) for tags, score in _all_scores(crf, rows).items()}
        ranked = sorted(scores, key=lambda tags: -scores[tags])
        assert tuple(best.tolist()) == ranked[0]
        few = crf.n_best(rows, 8)
        assert [tuple(tags) for tags in few.tags.tolist()] == ranked[:8]
        log_z = torch.tensor(list(scores.values()), dtype=torch.float64).logsumexp(0)
        wanted = [scores[tags] - float(log_z) for tags in ranked[:8]]
        np.testing.assert_allclose(few.log_probs, wanted, rtol=1e-9, atol=1e-11)


def test_marginals_are_the_shares_of_sequences_with_that_tag() -> None:
    crf, emissions = _crf(), _emissions()
    found = crf.marginals(emissions, OFFSETS).tags.split(LENGTHS)
    for rows, marginals in zip(_sentences(emissions), found, strict=True):
        scores = _all_scores(crf, rows)
        probabilities = torch.stack(list(scores.values())).softmax(0)
        wanted = torch.zeros(len(rows), K, dtype=torch.float64)
        for tags, p in zip(scores, probabilities.tolist(), strict=True):
            for place, tag in enumerate(tags):
                wanted[place, tag] += p
        torch.testing.assert_close(marginals, wanted)


def test_what_is_not_allowed_has_no_probability() -> None:
    allowed = np.ones((K + 2, K + 2), bool)
    allowed[0, 1] = allowed[K, 2] = allowed[0, K + 1] = False
    crf, emissions = _crf(allowed=allowed), _emissions(5.0)
    for rows in _sentences(emissions):
        scores = _all_scores(crf, rows)
        barred = {
            tags
            for tags in scores
            if tags[0] == 2 or tags[-1] == 0 or (0, 1) in itertools.pairwise(tags)
        }
        few = crf.n_best(rows, 200)
        assert {tuple(tags) for tags in few.tags.tolist()} == set(scores) - barred
        assert np.exp(few.log_probs).sum() == pytest.approx(1)
        assert tuple(crf.decode(rows, np.array([0, len(rows)]))) not in barred
    emissions.requires_grad_()
    gradients = torch.autograd.grad(
        crf.log_partition(emissions, OFFSETS).sum(), [emissions, crf.transitions]
    )
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients[1][0, 1] == 0


def test_scores_so_far_apart_that_products_underflow() -> None:
    crf, rows = _crf(), torch.tensor([[0.0, -2000, -4000], [-3000, 0, 0]], dtype=torch.float64)
    with torch.no_grad():
        crf.transitions.copy_(torch.tensor([[0.0, -1500, 0], [800, 0, 0], [0, 0, 900]]))
    offsets = np.array([0, 2])
    wanted = torch.stack(list(_all_scores(crf, rows).values())).logsumexp(0)
    torch.testing.assert_close(crf.log_partition(rows, offsets)[0], wanted)
    assert crf.marginals(rows, offsets).tags.sum(1).tolist() == pytest.approx([1, 1])


def test_empty_sentences_and_one_tag() -> None:
    crf = LinearChainCRF(1)
    emissions, offsets = torch.randn(2, 1), np.array([0, 0, 2, 2])
    assert crf.log_partition(emissions, offsets).detach().numpy()[[0, 2]].tolist() == [0, 0]
    assert crf.decode(emissions, offsets).tolist() == [0, 0]
    assert crf.decode(emissions[:0], np.array([0])).size == 0


def test_a_long_sentence_keeps_its_digits() -> None:
    crf = _crf()
    rows = torch.zeros(20_000, K, dtype=torch.float64)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.zero_()
    found = crf.log_partition(rows, np.array([0, 20_000]))
    assert float(found[0].detach()) == pytest.approx(20_000 * np.log(K), rel=1e-12)
