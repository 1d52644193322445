"""``unrolled gradients`` and ``unrolled train net --set monitor=true``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from small_nets import small_model, write_text

Run = Callable[..., tuple[int, str, str]]


def test_a_trained_net_is_shown_on_a_text(run: Run, tmp_path: Path) -> None:
    text, net, folder = write_text(tmp_path, 30), tmp_path / "net.safetensors", tmp_path / "out"
    small_model(cell="elman").save(net)
    code, out, err = run("gradients", net, text, "--steps", 8, "--batch", 4, "-o", folder)
    assert code == 0, err
    assert out.splitlines()[0].split() == ["lag", "norm", "share", "beyond", "|J|", "bound"]
    assert "layer 1: spectral radius" in out
    assert sorted(path.name for path in folder.iterdir()) == [
        "by-lag-and-time.svg", "by-lag.svg", "comparison.svg", "gradients.json",
        "singular-values.svg",
    ]  # fmt: skip
    record = json.loads((folder / "gradients.json").read_text())
    assert list(record["others"]) == ["elman-12, untrained"]
    code, out, _ = run("gradients", net, text, "--steps", 8, "--batch", 4, "--json")
    assert json.loads(out)["layers"] == record["layers"]


def test_fresh_cells_need_no_model(run: Run) -> None:
    code, out, _ = run("gradients", "--cell", "elman", "--hidden", 8, "--steps", 6, "--json")
    assert code == 0
    found = json.loads(out)
    assert len(found["layers"][0]["norms"]) == 6
    assert found["settings"]["hidden"] == 8


REFUSED = [
    ((), "a model and a text are needed, or --cell"),
    (("net.safetensors",), "a model and a text are needed, or --cell"),
    (("net.safetensors", "--cell", "gru"), "a model and --cell gru exclude each other"),
    (("--cell", "rnn"), "the cell 'rnn' is unknown"),
    (("no.safetensors", "no.txt"), "no.safetensors"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    code, out, err = run("gradients", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_counts_have_no_gradients(run: Run, tmp_path: Path) -> None:
    text, counts = write_text(tmp_path, 30), tmp_path / "counts.safetensors"
    assert run("train", "ngram", text, "-o", counts, "--order", 2)[0] == 0
    code, _, err = run("gradients", counts, text)
    assert code == 2
    assert "measuring gradients needs a net, and" in err


def test_training_is_watched(run: Run, tmp_path: Path) -> None:
    text, net = write_text(tmp_path, 60), tmp_path / "net.safetensors"
    code, out, err = run(
        "train", "net", text, "-o", net, "--hidden", 12, "--set", "classes=4", "--batch", 4,
        "--set", "bptt=6",
        "--epochs", 1, "--set", "monitor=true", "--set", "monitor_every=4",
    )  # fmt: skip
    assert (code, out) == (0, ""), err
    assert "step 0, gradient norm" in err
    lines = (tmp_path / "net.safetensors.gradients.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines[:2]] == [0, 4]
