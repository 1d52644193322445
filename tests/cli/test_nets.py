"""``unrolled train net`` and what other commands make of a net."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from small_nets import write_text

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--hidden", 12, "--set", "classes=4", "--batch", 4, "--set", "bptt=6", "--epochs", 2,
         "--dropout", 0)  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    return write_text(folder, 200), write_text(folder, 50, "valid.txt", seed=2)


def test_a_net_is_trained_and_every_command_takes_it(
    run: Run, texts: tuple[str, str], tmp_path: Path
) -> None:
    train, valid = texts
    net = tmp_path / "net.safetensors"
    code, out, err = run("train", "net", train, "--valid", valid, "-o", net, *QUICK)
    assert (code, out) == (0, ""), err
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
    code, out, _ = run("evaluate", net, valid, "--json")
    perplexity = json.loads(out)["perplexity"]
    assert code == 0
    assert perplexity < 5
    code, out, _ = run("info", net, "--json")
    curve = json.loads(out)["provenance"]["training"]["curve"]
    assert min(point["valid_perplexity"] for point in curve) == pytest.approx(perplexity, rel=1e-3)
    assert run("predict", net, "the cat")[0] == 0
    assert run("generate", net, "--seed", 1)[0] == 0
    assert run("rank", net, "the cat ran", "ran cat the")[1].count("\n") == 3
    counts = tmp_path / "counts.safetensors"
    assert run("train", "ngram", train, "-o", counts, "--order", 2)[0] == 0
    both = tmp_path / "both.safetensors"
    code, _, err = run("mix", net, counts, "-o", both, "--tune", valid)
    assert code == 0, err
    mixed = json.loads(run("evaluate", both, valid, "--json")[1])["perplexity"]
    alone = json.loads(run("evaluate", counts, valid, "--json")[1])["perplexity"]
    assert mixed <= min(perplexity, alone) * 1.001


def test_an_interrupted_training_goes_on(run: Run, texts: tuple[str, str], tmp_path: Path) -> None:
    from unrolled.neural.config import split_settings
    from unrolled.neural.task import LanguageModelTask
    from unrolled.storage.loading import load
    from unrolled.text.corpus import read_corpus
    from unrolled.training.loop import TrainingLoop

    train, _ = texts
    whole, net = tmp_path / "whole.safetensors", tmp_path / "net.safetensors"
    assert run("train", "net", train, "-o", whole, *QUICK)[0] == 0
    settings = {"hidden": 12, "classes": 4, "batch": 4, "bptt": 6, "epochs": 2,
                "dropout_input": 0.0, "dropout_layers": 0.0, "dropout_output": 0.0}  # fmt: skip
    loop = TrainingLoop(LanguageModelTask(read_corpus(train), None, *split_settings(settings)))
    loop.enable_checkpoints(tmp_path / "net.safetensors.checkpoint")
    loop.run_epoch()
    loop.end_epoch()
    loop.schedule.epoch_ended(1.0)
    loop.save()
    code, _, err = run("train", "net", train, "-o", net, "--resume", *QUICK)
    assert code == 0, err
    one, other = load(whole), load(net)
    assert np.array_equal(one.net.vectors.detach(), other.net.vectors.detach())
    assert not (tmp_path / "net.safetensors.checkpoint").exists()


REFUSED = [
    (("--cell", "rnn"), "cell is 'rnn', allowed are elman, irnn, lstm, gru, feed-forward"),
    (("--dropout", "1 2 3 4"), "--dropout is '1 2 3 4', allowed are one number or 3"),
    (("--dropout", "a"), "--dropout is 'a', allowed are numbers, 0 to below 1"),
    (("--set", "optimiser=lion"), "optimiser is 'lion'"),
    (("--set", "output_layer=softmax"), "output_layer is 'softmax'"),
    (("--set", "classes_by=brown"), "classes_by is 'brown'"),
    (("--rate", "-1"), "rate is -1.0"),
    (("--set", "recurrent_init=zeros"), "recurrent_init is 'zeros', allowed are identity"),
    (("--set", "recurrent_init_scale=0.9"), "but the cell's own weights are not scaled"),
    (
        ("--set", "recurrent_init=identity", "--set", "recurrent_init_scale=0"),
        "recurrent_init_scale is 0.0",
    ),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_bad_settings_are_one_line_and_leave_nothing(
    run: Run, texts: tuple[str, str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = run("train", "net", texts[0], "-o", tmp_path / "n.safetensors", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_an_experiment_without_data_says_so(run: Run, tmp_path: Path) -> None:
    code, _, err = run("experiment", "cells", "--data", tmp_path, "-o", tmp_path / "out")
    assert code == 2
    assert "0 files have 'train' in their names" in err


def test_vectors_are_taken_and_stay(run: Run, texts: tuple[str, str], tmp_path: Path) -> None:
    from unrolled.storage.loading import load

    file, net = tmp_path / "vectors.txt", tmp_path / "net.safetensors"
    file.write_text("the 0.5 -0.5 1\ncat 1 2 0.25\ndog 3 -1 0\nsat 0 0 1\n")
    code, _, err = run(
        "train", "net", texts[0], "-o", net, "--set", f"vectors={file}",
        "--set", "freeze_vectors=yes",
        "--set", "tied=no", "--set", "embedding=3", "--hidden", 4, "--set", "classes=3",
        "--epochs", 1,
    )  # fmt: skip
    assert code == 0, err
    model = load(net)
    assert model.net.vectors[model.vocabulary.id("cat")].tolist() == [1, 2, 0.25]


def test_pictures_of_an_experiment_are_drawn_again(run: Run, tmp_path: Path) -> None:
    results = Path(__file__).parents[2] / "results"
    name = "temporal-order-laptop"
    (tmp_path / f"{name}.json").write_bytes((results / f"{name}.json").read_bytes())
    code, out, err = run("experiment", "temporal-order", "--draw", "-o", tmp_path)
    assert (code, out.strip()) == (0, str(tmp_path / f"{name}.svg")), err
    assert "SGD + clipping" in (tmp_path / f"{name}.svg").read_text()
    code, out, err = run("experiment", "temporal-order", "--draw", "--jobs", 2, "-o", tmp_path)
    assert (code, out) == (2, "")
    assert "--draw runs nothing, so it takes no --jobs" in err
