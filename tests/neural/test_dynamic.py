"""Dynamic evaluation: each chunk by the weights that all before it made, written out by hand."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from small_nets import SMALL, small_model, write_text
from unrolled.cli import main
from unrolled.errors import SettingError, UnrolledError
from unrolled.language_models.evaluation import evaluate
from unrolled.neural.dynamic import DynamicModel
from unrolled.neural.training import train_net

IDS = np.array([1, 3, 4, 6, 2, 1, 5, 0, 2, 1, 2, 1, 9, 8, 7, 2], np.int32)
NETS: list[dict[str, Any]] = [
    {"cell": "lstm"},
    {"cell": "gru", "output_layer": "full", "tied": False},
    {"cell": "elman", "output_layer": "adaptive", "learn_initial_state": True},
    {"cell": "lstm", "reset_state_per_sentence": True, "layers": 2},
    {"cell": "feed-forward", "order": 3},
]


def by_hand(model: Any, chunk_steps: int, rate: float, decay: float, clip: float) -> list[float]:
    """Word by word with a copy of the net: -log p by the whole distribution, and plain SGD."""
    net = copy.deepcopy(model.net)
    trained = [p.detach().clone() for p in net.parameters()]
    scores, losses, state = [], [], net.begin(1)
    pairs = [(1 if a == 2 else a, b) for a, b in itertools.pairwise(IDS.tolist()) if b != 1]
    for number, (word, target) in enumerate(pairs):
        apart = model.net.config.reset_state_per_sentence
        if word == 1 and apart:
            state = net.begin(1)
        h, state = net(torch.tensor([[word]]), state)
        loss = -net.output.distribution(h[:, 0])[0, target]
        scores.append(-float(loss.detach()))
        losses.append(loss)
        ends = number + 1 == len(pairs) or (apart and pairs[number + 1][0] == 1)
        if len(losses) == chunk_steps or ends:
            net.zero_grad()
            torch.stack(losses).mean().backward()
            given = [p.grad for p in net.parameters() if p.grad is not None]
            norm = math.sqrt(sum(float((g**2).sum()) for g in given))
            with torch.no_grad():
                for p, start in zip(net.parameters(), trained, strict=True):
                    if p.grad is not None:
                        p -= rate * min(1.0, clip / norm) * p.grad
                    p += decay * (start - p)
            losses, state = [], tuple(part.detach() for part in state)
    return scores


@pytest.mark.parametrize("settings", NETS)
@pytest.mark.parametrize(("chunk_steps", "decay"), [(3, 0.0), (1, 0.1), (50, 0.0)])
def test_scores_are_those_of_learning_by_hand(
    settings: dict[str, Any], chunk_steps: int, decay: float
) -> None:
    model = small_model(**settings)
    before = [p.detach().clone() for p in model.net.parameters()]
    dynamic = DynamicModel(model, rate=0.5, chunk_steps=chunk_steps, decay=decay, clip_norm=0.7)
    scores = dynamic.text_log_probs(IDS)
    wanted = by_hand(model, chunk_steps, 0.5, decay, 0.7)
    np.testing.assert_allclose(scores[IDS != 1], wanted, atol=2e-4)
    assert np.all(scores[IDS == 1] == 0)
    np.testing.assert_array_equal(dynamic.text_log_probs(IDS), scores)  # it begins anew
    for one, other in zip(before, model.net.parameters(), strict=True):
        assert torch.equal(one, other)
    np.testing.assert_array_equal(dynamic.log_probs(IDS), model.log_probs(IDS))


def test_a_text_that_repeats_itself_is_learned(tmp_path: Path) -> None:
    model = train_net(write_text(tmp_path, 100), **{**SMALL, "batch": 4, "bptt": 6, "epochs": 1})
    model.save(tmp_path / "net")
    kept = (tmp_path / "net").read_bytes()
    text = tmp_path / "new.txt"
    text.write_text("the mat sat on the cat .\n" * 60)
    plain = evaluate(model, text)
    dynamic = evaluate(DynamicModel(model, rate=1.0, chunk_steps=4), text)
    assert dynamic.tokens == plain.tokens
    assert dynamic.perplexity < 0.5 * plain.perplexity
    assert dynamic.name == "lstm-12-dynamic"
    assert evaluate(model, text) == plain
    assert (tmp_path / "net").read_bytes() == kept


def test_files_are_one_text(tmp_path: Path) -> None:
    model = small_model()
    names = []
    for number in range(3):
        names.append(str(tmp_path / f"{number}.txt"))
        Path(names[-1]).write_text("the cat sat on the mat .\n" * 4)
    (tmp_path / "all.txt").write_text("the cat sat on the mat .\n" * 12)
    counts: list[int] = []
    apart = evaluate(DynamicModel(model, chunk_steps=8), names, progress=counts.append)
    together = evaluate(DynamicModel(model, chunk_steps=8), tmp_path / "all.txt")
    assert sum(counts) == apart.tokens == together.tokens == 96
    assert apart.perplexity == pytest.approx(together.perplexity, rel=1e-5)
    fresh = [evaluate(DynamicModel(model, chunk_steps=8), name).log_prob for name in names]
    assert sum(fresh) < together.log_prob - 1  # each begins with the trained weights


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0}, "rate is 0, allowed are numbers above 0"),
        ({"chunk_steps": 0}, "chunk_steps is 0, allowed are 1 and more"),
        ({"clip_norm": -1}, "clip_norm is -1, allowed are 0 and more"),
        ({"decay": 1}, "decay is 1, allowed are 0 to below 1"),
    ],
)
def test_settings_that_are_not_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        DynamicModel(small_model(), **settings)


@pytest.mark.parametrize("rate", [1e30, 1e15, 1e9])
def test_weights_that_explode_are_an_error(rate: float) -> None:
    # Overflow gives NaN on one processor, a huge finite number on another, and is an error on all.
    dynamic = DynamicModel(small_model(), rate=rate, clip_norm=0, chunk_steps=2)
    with pytest.raises(UnrolledError, match=r"beyond all bounds after \d+ words.* --dynamic-rate"):
        dynamic.text_log_probs(np.tile(IDS, 10))


@pytest.mark.parametrize("loss", [math.nan, math.inf, 5.5e30])
def test_a_loss_that_no_model_has_is_an_error(loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.neural.dynamic._exact_loss", lambda *_: torch.tensor(loss))
    with pytest.raises(UnrolledError, match="beyond all bounds after 0 words, with a rate of 0.3"):
        DynamicModel(small_model()).text_log_probs(IDS)


def test_the_command_takes_nets_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_model().save(tmp_path / "net")
    counts = unrolled.train_ngram(texts=["a b", "b c"], order=2, smoothing="witten-bell")
    counts.save(tmp_path / "ngram")
    text = write_text(tmp_path, 20)

    def run(name: str, *options: str) -> tuple[str, str]:
        words = ["unrolled", "evaluate", str(tmp_path / name), text, *options]
        monkeypatch.setattr(sys, "argv", words)
        with contextlib.suppress(SystemExit):
            main()
        out, err = capsys.readouterr()
        return out, err

    wanted = evaluate(DynamicModel(small_model(), rate=0.2, decay=0.01), text).line()
    out, _ = run("net", "--dynamic", "--dynamic-rate", "0.2", "--dynamic-decay", "0.01")
    assert out.strip() == wanted
    assert "| lstm-12-dynamic |" in out
    out, err = run("ngram", "--dynamic")
    assert (out, "dynamic evaluation needs a net, and witten-bell-2 is an n-gram model" in err) == (
        "",
        True,
    )
    out, err = run("net", "--dynamic", "--cache", "5")
    assert (out, "--dynamic and --cache cannot be had together" in err) == ("", True)
