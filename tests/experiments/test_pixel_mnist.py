"""Digits pixel by pixel: the files, the order of pixels, torch's own kernels, a run in small."""

from __future__ import annotations

import dataclasses
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from report.drawn import Drawn
from unrolled.comparison.finished_runs import parts_folder
from unrolled.errors import DivergedError, FormatError, SettingError
from unrolled.experiments import check_experiment, pixel_mnist, run_experiment
from unrolled.experiments.digit_training import DigitsTask, Start
from unrolled.experiments.mnist import read_mnist
from unrolled.experiments.sequence_classifier import states_by_torch
from unrolled.experiments.setup import Setup
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import set_timescales
from unrolled.training.loop import TrainingLoop
from unrolled.training.settings import TrainingSettings


def _write(folder: Path, name: str, array: np.ndarray, *, packed: bool = True) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    raw = head + array.astype(np.uint8).tobytes()
    path = folder / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(raw) if packed else raw)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """120 images to train on and 60 to test on; the label is how many rows are white."""
    for name, size in (("train", 120), ("t10k", 60)):
        labels = np.arange(size) % 10
        images = np.zeros((size, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[: 2 * label] = 255
        _write(tmp_path, f"{name}-images-idx3-ubyte", images, packed=name == "train")
        _write(tmp_path, f"{name}-labels-idx1-ubyte", labels)
    return tmp_path


def test_files_are_read_and_images_averaged_down(folder: Path) -> None:
    digits = read_mnist(folder, 14)
    assert digits.train_images.shape == (196, 120)
    assert digits.test_labels[:11].tolist() == [*range(10), 0]
    # Label 3 has 6 of 28 rows white, so 3 of 14, each of 14 pixels in reading order.
    assert digits.train_images[:, 3].tolist() == [1.0] * 42 + [0.0] * 154
    assert read_mnist(folder, 4).train_images[:, 3].reshape(4, 4)[:, 0].tolist() == pytest.approx(
        [6 / 7, 0, 0, 0]
    )


def test_held_out_images_are_the_last_of_the_training_set(folder: Path) -> None:
    digits = read_mnist(folder, 4)
    few = digits.held_out(20)
    assert torch.equal(few.train_images, digits.train_images[:, :100])
    assert torch.equal(few.test_images, digits.train_images[:, 100:])
    assert torch.equal(few.test_labels, digits.train_labels[100:])
    order = torch.randperm(16)
    assert torch.equal(digits.in_order(order).test_images[0], digits.test_images[order[0]])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_torchs_kernels_give_the_same_states(nonlinearity: str) -> None:
    torch.manual_seed(0)
    cell = Cell("elman", 1, 5, nonlinearity=nonlinearity)
    x, begin = torch.randn(9, 3, 1), torch.zeros(3, 5)
    torch.testing.assert_close(states_by_torch(cell, x, begin), cell.run_fused(x, (begin,))[0])


def test_the_experiment_runs_and_no_rate_is_chosen_on_the_test_set(
    folder: Path, tmp_path: Path
) -> None:
    results = pixel_mnist.run(Setup("x", "smoke", tmp_path / "one", folder))
    nets, orders = ("IRNN", "LSTM", "tanh RNN", "ReLU RNN"), ("plain", "permuted")
    assert list(results["table"]) == [f"{net}, {order}" for net in nets for order in orders]
    assert [step for step, _ in results["curves"]["plain"]["IRNN"]] == [12, 24]
    drawn = Drawn(pixel_mnist.draw(json.loads(json.dumps(results)))[""])
    for panel, curves in zip(drawn.panels(), results["curves"].values(), strict=True):
        lines = [line for line in drawn.lines() if panel.top < line[1][0][1] < panel.bottom + 1]
        assert [name for name, _ in lines] == list(curves)
        for name, points in lines:
            shares = [(step, 100 * share) for step, share in curves[name]]
            np.testing.assert_allclose(panel.read(points), shares, atol=0.6)
    # Other test images change neither rates nor curves.
    _write(folder, "t10k-images-idx3-ubyte", np.zeros((60, 28, 28)), packed=False)
    again = pixel_mnist.run(Setup("x", "smoke", tmp_path / "two", folder))
    for row, run in results["runs"].items():
        assert run["rate"] == again["runs"][row]["rate"]
        assert run["curve"] == again["runs"][row]["curve"]


@pytest.mark.parametrize(
    ("row", "epochs", "parts"), [("IRNN, permuted", "1 of 3", 5), ("LSTM, permuted", "1 of 2", 15)]
)
def test_it_continues_where_it_was_ended(
    row: str, epochs: str, parts: int, folder: Path, tmp_path: Path
) -> None:
    whole = pixel_mnist.run(Setup("x", "smoke", tmp_path / "whole", folder))
    lines: list[str] = []

    def end(line: str) -> None:
        lines.append(line)
        if row in line and f"{epochs} epochs done" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pixel_mnist.run(Setup("x", "smoke", tmp_path / "ended", folder, end))
    assert len([*(tmp_path / "ended" / "x-smoke-parts").glob("*.json")]) == parts
    lines.clear()
    rest = pixel_mnist.run(Setup("x", "smoke", tmp_path / "ended", folder, lines.append))
    assert not any(line.startswith("IRNN, plain, rate") for line in lines)
    assert rest["table"] == whole["table"]
    for name, run in whole["runs"].items():
        assert rest["runs"][name]["losses"] == run["losses"]
    assert not [*(tmp_path / "ended" / "x-smoke-parts").glob("*.safetensors")]


def test_rows_are_added_to_those_that_were_run_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def run(*rows: str) -> dict[str, dict[str, float]]:
        earlier = any(out.glob("*.json"))
        record = run_experiment("pixel-mnist", folder, size="smoke", output=out, rows=rows)
        assert record["resumed"] == earlier
        curves = record["results"]["curves"].items()
        drawn = {f"{net}, {order}" for order, curves_of in curves for net in curves_of}
        assert drawn == record["results"]["table"].keys()
        return record["results"]["table"]  # type: ignore[no-any-return]

    lstm = run("LSTM, permuted")
    both = run("IRNN, permuted")
    assert list(both) == ["IRNN, permuted", "LSTM, permuted"]  # in the order of the experiment
    assert both["LSTM, permuted"] == lstm["LSTM, permuted"]
    lines: list[str] = []
    check = check_experiment("pixel-mnist", folder, size="smoke", output=out, report=lines.append)
    assert (check.compared, check.outside) == (2, [])  # only what the record has
    assert not any("RNN" in line and "IRNN" not in line for line in lines)

    with pytest.raises(SettingError, match="no row 'GRU, plain'. It has IRNN, plain; IRNN, perm"):
        run("GRU, plain")
    with pytest.raises(SettingError, match="rows of echo-state cannot be run alone"):
        run_experiment("echo-state", size="smoke", output=out, rows=["IRNN"])
    with pytest.raises(SettingError, match="single rows are run once, so they take no seeds"):
        run_experiment("pixel-mnist", folder, size="smoke", output=out, rows=[*both], seeds=2)
    row = pixel_mnist.ROWS["LSTM, permuted"]
    slower = dataclasses.replace(row, net=dataclasses.replace(row.net, state_rate=0.5))
    with monkeypatch.context() as changed:
        changed.setitem(pixel_mnist.ROWS, "LSTM, permuted", slower)
        with pytest.raises(SettingError, match="of LSTM, permuted are of other settings. Run th"):
            run("IRNN, permuted")
        assert both["IRNN, permuted"] == run(*both)["IRNN, permuted"]
        assert list(run("LSTM, permuted")) == [*both]
    path = out / "pixel-mnist-smoke.json"
    record = json.loads(path.read_text())
    record["results"]["table"] = {"GRU": {}}  # of a version that had other rows
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / path.name).write_text(json.dumps(record))
    with pytest.raises(SettingError, match="the results of GRU are of other settings"):
        run_experiment("pixel-mnist", folder, size="smoke", output=tmp_path / "other", rows=[*both])
    with pytest.raises(SettingError, match="the results have no row that pixel-mnist has"):
        check_experiment("pixel-mnist", folder, size="smoke", output=tmp_path / "other")
    smoke = dataclasses.replace(pixel_mnist.SETTINGS["smoke"], epochs=(3, 3))
    monkeypatch.setitem(pixel_mnist.SETTINGS, "smoke", smoke)
    with pytest.raises(SettingError, match=r"pixel-mnist-smoke\.json: the results are of other"):
        run("LSTM, permuted")


def test_what_another_run_adds_to_the_results_meanwhile_stays(folder: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    name = "pixel-mnist-smoke.json"
    run_experiment("pixel-mnist", folder, size="smoke", output=theirs, rows=["ReLU RNN, plain"])

    state = parts_folder(ours, "pixel-mnist", "smoke") / f"{'f' * 32}.safetensors"

    def add(line: str) -> None:
        (ours / name).write_bytes((theirs / name).read_bytes())
        state.touch()  # of a third one that is not done yet

    record = run_experiment(
        "pixel-mnist", folder, size="smoke", output=ours, rows=["IRNN, plain"], report=add
    )
    assert list(record["results"]["table"]) == ["IRNN, plain", "ReLU RNN, plain"]
    assert record["resumed"]
    assert list(state.parent.iterdir()) == [state]


def test_a_batch_whose_states_explode_moves_nothing(folder: Path) -> None:
    task = DigitsTask(
        {"kind": "irnn"}, read_mnist(folder, 14), TrainingSettings(batch=8), units=8,
        start=Start(), error_norm=1.0,
    )  # fmt: skip
    batch = next(task.batches(0))
    with torch.no_grad():
        task.net.cell.state_weight.mul_(1.3)
        task.net.cell.bias.fill_(1e30)  # times 1.3^196 it is too large a number
    loss = task.backward(batch)
    assert (loss.mean, loss.tokens) == (100.0, 8)
    assert all(float(p.grad.abs().max()) == 0 for p in task.net.parameters())  # type: ignore[union-attr]
    with pytest.raises(DivergedError, match="states have exploded on 101 batches"):
        for _ in range(100):
            task.backward(batch)


def test_weights_between_states_start_and_move_as_set(folder: Path) -> None:
    settings = TrainingSettings(epochs=1, batch=8, rate=0.01, warmup=0)
    started = torch.empty(6, 6)
    set_timescales(started, 5, 4 * 4 * 4)

    def trained(state_rate: float) -> torch.Tensor:
        task = DigitsTask(
            {"kind": "irnn"}, read_mnist(folder, 4).held_out(20), settings, units=6,
            start=Start(memory=True), state_rate=state_rate,
        )  # fmt: skip
        assert torch.equal(task.net.cell.state_weight, started)
        before = task.net.output.weight.detach().clone()
        TrainingLoop(task).run()
        assert not torch.equal(task.net.output.weight, before)
        return task.net.cell.state_weight.detach()

    assert torch.equal(trained(0.0), started)
    moved = [float((trained(rate) - started).norm()) for rate in (0.1, 1.0)]
    assert 0 < 3 * moved[0] < moved[1]


def test_an_lstm_may_start_with_memory_and_larger_weights_from_the_pixels(folder: Path) -> None:
    start = Start(input_spread=2.0, memory=True)
    task = DigitsTask(
        {"kind": "lstm"}, read_mnist(folder, 4), TrainingSettings(batch=8), units=50, start=start
    )
    enter, forget, *_ = task.net.cell.bias.detach().chunk(4)
    assert torch.equal(enter, -forget)
    assert 0 <= float(forget.min()) < np.log(5) and np.log(10) < float(forget.max()) <= np.log(15)
    assert 1.5 < float(task.net.cell.input_weight.detach().abs().max()) <= 2
    assert task.identity()["settings"]["start"]["memory"] is True


def test_updates_of_lstms_are_dropped_in_training_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = read_mnist(folder, 4)
    batch = digits.train_images[:, :8], digits.train_labels[:8]
    losses = {}
    for dropped in (0.0, 0.5):
        task = DigitsTask(
            {"kind": "lstm"}, digits, TrainingSettings(batch=8), units=16, start=Start(),
            dropout_updates=dropped,
        )  # fmt: skip
        losses[dropped] = [task.backward(batch).mean for _ in range(2)]
        with torch.no_grad():
            first = task.net.eval()(batch[0])
            assert torch.equal(first, task.net(batch[0]))
        losses[dropped].append(float(torch.nn.functional.cross_entropy(first, batch[1])))
    assert len(set(losses[0.0])) == 1
    assert len({*losses[0.5], *losses[0.0]}) == 3  # the net without it is the same one
    shares = []
    run = Cell.run_fused

    def noted(*given: Any, **options: Any) -> Any:
        shares.append(options["dropout_updates"])
        return run(*given, **options)

    monkeypatch.setattr(Cell, "run_fused", noted)
    task.net.train()
    task.score()
    assert set(shares) == {0.0} and task.net.training
    task.backward(batch)
    assert shares[-1] == 0.5
    with pytest.raises(SettingError, match="this cell is 'irnn'"):
        DigitsTask(
            {"kind": "irnn"}, digits, TrainingSettings(), units=4, start=Start(),
            dropout_updates=0.5,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "epochs", "share"),
    [
        ("IRNN, plain", 2, 0.0), ("ReLU RNN, permuted", 3, 0.0), ("LSTM, plain", 3, 0.0),
        ("LSTM, permuted", 2, 0.25),
    ],
)  # fmt: skip
def test_rows_are_trained_as_their_settings_say(
    row: str, epochs: int, share: float, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shares = set()
    make = pixel_mnist.DigitsTask

    def noted(*given: Any, **options: Any) -> DigitsTask:
        shares.add(options["dropout_updates"])
        return make(*given, **options)

    monkeypatch.setattr(pixel_mnist, "DigitsTask", noted)
    results = pixel_mnist.run(Setup("x", "smoke", tmp_path / "out", folder, rows=(row,)))
    assert len(results["runs"][row]["curve"]) == epochs
    assert shares == {share}


def test_the_better_start_is_taken(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    setup = Setup("pixel-mnist", "smoke", tmp_path / "out", folder, report=lines.append)
    trainer = pixel_mnist.Trainer(setup, {"plain": read_mnist(folder, 4)})
    row = pixel_mnist.ROWS["LSTM, plain"]
    held_out = {(start, rate): 0.1 for start in row.net.starts for rate in (1, 2)}
    best = (Start(input_spread=1.0, memory=True), 1)
    held_out[best] = 0.5

    def train(run: pixel_mnist.Run, *, tested: bool) -> dict[str, object]:
        return {"held_out": held_out[run.start, run.rate]}

    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(trainer, "settings", dataclasses.replace(trainer.settings, rates=(1, 2)))
    assert trainer.best_first(row)[0] == best
    shares = "rate 1 10.0 %, rate 2 10.0 %, rate 1 with memory 50.0 %, rate 2 with memory 10.0 %"
    assert lines == [f"LSTM, plain: {shares}"]


def test_what_it_refuses(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="needs MNIST. Name the folder of its four files"):
        pixel_mnist.run(Setup("x", "smoke", tmp_path))
    with pytest.raises(SettingError, match="the side is 5, allowed are 28 and its divisors"):
        read_mnist(folder, 5)
    images = folder / "t10k-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    with pytest.raises(FormatError, match="t10k-images-idx3-ubyte: the file is no whole IDX file"):
        read_mnist(folder)
    images.write_bytes(b"\0\0")
    with pytest.raises(FormatError, match="the file is damaged"):
        read_mnist(folder)
    images.unlink()
    with pytest.raises(SettingError, match="there is no t10k-images-idx3-ubyte or t10k-images"):
        read_mnist(folder)
    _write(folder, "t10k-images-idx3-ubyte", np.zeros((60, 5, 5)))
    with pytest.raises(FormatError, match="are not MNIST's"):
        read_mnist(folder)
