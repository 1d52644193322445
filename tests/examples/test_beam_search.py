"""The scripts in examples/ run, and do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import unrolled

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_beam_search_finds_what_was_said(capsys):
    script = example("beam_search")
    script.main()
    assert (
        capsys.readouterr()
        .out.splitlines()[1]
        .startswith("language model x 0.8: 'the cat sat on the mat'")
    )


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_beam_search_is_exact_on_small_matrices(alpha):
    """With a wide beam: the sum over all paths of letters, for every text."""
    script = example("beam_search")
    model = unrolled.train_ngram(texts=["a b", "b ab"], order=2, smoothing="witten-bell")
    labels, random = ["a", "b", " ", ""], np.random.default_rng(3)
    frames = np.log(random.dirichlet(np.ones(4), 5))
    wanted = {}
    for path in np.ndindex(*[4] * 5):
        value = sum(frames[place, label] for place, label in enumerate(path))
        kept = [b for a, b in zip((-1, *path), path, strict=False) if a != b and b != 3]
        text = "".join(labels[label] for label in kept)
        if text.startswith(" ") or "  " in text:
            continue  # the search has no empty words
        text = text.strip()
        wanted[text] = np.logaddexp(wanted.get(text, -np.inf), value)
    for text, value in wanted.items():
        wanted[text] = value + alpha * model.score(text) + 0.5 * len(text.split())
    found = dict(
        script.decode(frames, labels, model, width=10_000, alpha=alpha, beta=0.5, least=-99)
    )
    assert found.keys() == wanted.keys()
    assert [found[text] for text in wanted] == pytest.approx(list(wanted.values()), abs=1e-4)
