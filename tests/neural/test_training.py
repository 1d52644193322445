"""Training: gradients over time, learning, resuming to the same bits, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_nets import SMALL, write_text
from unrolled.errors import FormatError, SettingError, TextError, UnrolledError
from unrolled.language_models.evaluation import evaluate
from unrolled.neural.config import split_settings
from unrolled.neural.task import LanguageModelTask
from unrolled.neural.training import train_net
from unrolled.storage.model_file import read_model, write_model
from unrolled.text.corpus import read_corpus
from unrolled.training.averaging import Averager
from unrolled.training.loop import TrainingLoop
from unrolled.training.schedules import Schedule

TIMES = {"seconds": 0, "tokens_per_second": 0}
QUICK: dict[str, Any] = {**SMALL, "batch": 4, "bptt": 6, "epochs": 3, "warmup": 5}


def _task(path: str, **settings: Any) -> LanguageModelTask:
    return LanguageModelTask(read_corpus(path), None, *split_settings({**QUICK, **settings}))


@pytest.mark.parametrize(
    ("cell", "optimiser"),
    [
        ("lstm", "adam"),
        ("lstm", "sgd"),
        ("gru", "adam"),
        ("elman", "adam"),
        ("irnn", "adam"),
        ("feed-forward", "adam"),
    ],
)
def test_nets_learn(cell: str, optimiser: str, tmp_path: Path) -> None:
    text, valid = write_text(tmp_path, 200), write_text(tmp_path, 60, "valid.txt", seed=2)
    rate = 1.0 if optimiser == "sgd" else 0.01 if cell == "irnn" else 0.02
    model = train_net(
        text, valid=valid, **{**QUICK, "rate": rate, "cell": cell, "optimiser": optimiser}
    )
    curve = model.provenance["training"]["curve"]
    assert [record["epoch"] for record in curve] == [1, 2, 3]
    best = min(record["valid_perplexity"] for record in curve)
    assert best < 4  # the text has nine words
    assert evaluate(model, valid).perplexity == pytest.approx(best, rel=1e-4)
    tokens = read_corpus(text).tokens
    assert all(record["tokens"] == tokens for record in curve)


def test_steps_are_what_the_cell_and_the_optimiser_want_unless_they_are_given() -> None:
    def steps(**settings: Any) -> tuple[float, float, float]:
        _, training = split_settings(settings)
        return training.rate, training.recurrent_lr_scale, training.weight_decay

    assert steps() == (0.012, 1.0, 0.1)
    assert steps(cell="elman", rate=None) == (0.006, 0.15, 0.1)
    assert steps(cell="elman", rate=0.001, recurrent_lr_scale=None) == (0.001, 0.15, 0.1)
    assert steps(cell="elman", optimiser="sgd", recurrent_lr_scale=0.5) == (10.0, 0.5, 0.0)
    assert steps(cell="feed-forward", weight_decay=0.0) == (0.006, 1.0, 0.0)


def test_recurrent_weights_have_a_rate_of_their_own(tmp_path: Path) -> None:
    path = write_text(tmp_path, 12)
    moved = []
    for times in (1.0, 0.1):
        task = _task(path, optimiser="sgd", rate=300, recurrent_lr_scale=times, clip_norm=0)
        before = {name: p.detach().clone() for name, p in task.net.named_parameters()}
        TrainingLoop(task).train_batch(next(task.batches(0)))
        after = dict(task.net.named_parameters())
        moved.append({name: after[name].detach() - before[name] for name in before})
    for name, change in moved[0].items():
        times = 0.1 if name == "layers.0.state_weight" else 1.0
        torch.testing.assert_close(moved[1][name], times * change, atol=1e-6, rtol=1e-2)
    assert float(moved[0]["layers.0.state_weight"].abs().max()) > 1e-3


def test_truncation_beyond_the_sequence_is_full_backpropagation(tmp_path: Path) -> None:
    path = write_text(tmp_path, 12)
    gradients = []
    for bptt in (10_000, read_corpus(path).tokens):
        task = _task(path, bptt=bptt, batch=1)
        (batch,) = task.batches(0)
        task.state = task.net.begin(1)
        loss, _, count = task.loss(batch)
        assert count == read_corpus(path).tokens
        gradients.append(torch.autograd.grad(loss, list(task.net.parameters())))
    words = torch.from_numpy(batch.inputs)
    h, _ = task.net.layers[0].run_unrolled(  # type: ignore[operator,union-attr]
        torch.nn.functional.embedding(words, task.net.vectors), task.net.begin(1)
    )
    plain = task.net.output.loss(h.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
    gradients.append(torch.autograd.grad(plain, list(task.net.parameters())))
    for one, other, third in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, third, rtol=1e-4, atol=1e-6)


def test_one_backward_pass_accumulates_the_errors_of_all_steps(tmp_path: Path) -> None:
    task = _task(write_text(tmp_path, 10), batch=1, bptt=8, output_layer="full")
    batch = next(task.batches(0))
    task.state = task.net.begin(1)
    parameters = list(task.net.parameters())
    loss, _, _ = task.loss(batch)
    together = torch.autograd.grad(loss, parameters)
    h, _ = task.net(torch.from_numpy(batch.inputs), task.state)
    apart = [torch.zeros_like(parameter) for parameter in parameters]
    for step, target in enumerate(batch.targets[:, 0].tolist()):
        error = task.net.output.loss(h[step], torch.tensor([target]))
        for total, part in zip(
            apart, torch.autograd.grad(error, parameters, retain_graph=True, allow_unused=True),
            strict=True,
        ):  # fmt: skip
            if part is not None:
                total += part / len(batch.targets)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_gradients_of_a_net_agree_with_finite_differences(tmp_path: Path) -> None:
    task = _task(write_text(tmp_path, 10), layers=2, bptt=9)
    task.net.double()
    batch = next(task.batches(0))
    task.state = task.net.begin(batch.inputs.shape[1])
    names = dict(task.net.named_parameters())
    loss = task.loss(batch)[0]
    gradients = dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))
    for name, parameter in names.items():
        flat = parameter.data.view(-1)
        place = int(gradients[name].abs().flatten().argmax())
        kept, values = float(flat[place]), []
        for sign in (1, -1):
            flat[place] = kept + sign * 1e-5
            values.append(float(task.loss(batch)[0].detach()))
        flat[place] = kept
        numeric = (values[0] - values[1]) / 2e-5
        assert float(gradients[name].flatten()[place]) == pytest.approx(numeric, rel=1e-4), name


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    task = _task(write_text(tmp_path, 60), accumulate=3, epochs=1)
    loop = TrainingLoop(task)
    loop.run()
    assert loop.step == task.batches_per_epoch // 3


def test_a_seed_decides_everything(tmp_path: Path) -> None:
    path = write_text(tmp_path, 40)
    settings = {**QUICK, "dropout_output": 0.3, "dropout_recurrent": 0.2}
    models = [train_net(path, **{**settings, "seed": seed}) for seed in (1, 1, 2)]
    weights = [model.net.vectors for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_clipping_holds_and_is_counted(tmp_path: Path) -> None:
    task = _task(write_text(tmp_path, 40), clip_norm=1e-3, epochs=1)
    batch = next(task.batches(0))
    loop = TrainingLoop(task)
    loop.train_batch(batch)
    assert loop.totals.clipped == 1
    task = _task(write_text(tmp_path, 40), clip_norm=0, clip_value=1e-4, epochs=1, warmup=0)
    loop = TrainingLoop(task)
    task.backward(batch)
    loop.optimiser.zero_grad = lambda: None  # type: ignore[method-assign]
    loop.update()
    largest = max(float(p.grad.abs().max()) for p in task.net.parameters() if p.grad is not None)
    assert largest == pytest.approx(1e-4)


@pytest.mark.parametrize("settings", [
    {}, {"optimiser": "sgd", "schedule": "halving", "momentum": 0.5},
    {"reset_state_per_sentence": True},
    {"optimiser": "asgd", "rate": 1.0, "schedule": "constant", "patience": 9},
    {"averaging": 0.7, "schedule": "decay"},
])  # fmt: skip
def test_resuming_leads_to_the_same_bits(settings: dict[str, Any], tmp_path: Path) -> None:
    path, valid = write_text(tmp_path, 60), write_text(tmp_path, 30, "valid.txt", seed=2)
    kept = tmp_path / "training.checkpoint"
    given = {**QUICK, "dropout_output": 0.3, "valid": valid, **settings}
    whole = train_net(path, **given)

    class StoppedError(Exception):
        pass

    def stop_after_two_epochs(line: str) -> None:
        if line.startswith("epoch   2"):
            raise StoppedError

    with pytest.raises(StoppedError):  # the second epoch is lost and done again
        train_net(path, checkpoint=kept, report=stop_after_two_epochs, **given)
    assert read_model(kept).config["place"]["epoch"] == 1
    again = train_net(path, checkpoint=kept, resume=True, **given)
    for one, other in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)
    curves = [model.provenance["training"]["curve"] for model in (whole, again)]
    for one, other in zip(*curves, strict=True):
        assert {**one, **TIMES} == {**other, **TIMES}


def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    path = write_text(tmp_path, 400)
    kept = tmp_path / "training.checkpoint"
    settings = {**QUICK, "epochs": 2, "dropout_input": 0.2}
    code = (
        "import sys; from unrolled.neural.training import train_net; "
        f"train_net({path!r}, checkpoint={str(kept)!r}, checkpoint_minutes=0, **{settings!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=_environment())
    for _ in range(3600):  # a busy machine may take minutes to begin
        if kept.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    place = read_model(kept, verify=True).config["place"]
    assert place["epoch"] == 0
    assert place["position"] > 0
    again = train_net(path, checkpoint=kept, resume=True, **settings)
    whole = train_net(path, **settings)
    for one, other in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)


def _environment() -> dict[str, str]:
    source = str(Path(__file__).resolve().parents[2] / "src")
    return {**os.environ, "PYTHONPATH": source}


def test_checkpoints_of_something_else_are_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path, 40)
    kept = tmp_path / "training.checkpoint"
    train_net(path, checkpoint=kept, **{**QUICK, "epochs": 1})

    def resume(text: str = path, **settings: Any) -> None:
        train_net(text, checkpoint=kept, resume=True, **{**QUICK, "epochs": 1, **settings})

    with pytest.raises(SettingError, match="written with net hidden 12, and now it is 13"):
        resume(hidden=13)
    with pytest.raises(SettingError, match="written with training epochs 1, and now it is 2"):
        resume(epochs=2)
    with pytest.raises(SettingError, match="written with text train"):
        resume(write_text(tmp_path, 41, "other.txt"))
    resume()
    file = read_model(kept)
    write_model(kept, kind=file.kind, config={**file.config, "version": 99}, arrays=file.arrays)
    with pytest.raises(FormatError, match="has version 99, and this program reads version 3"):
        resume()
    write_model(kept, kind="net", config={}, arrays={})
    with pytest.raises(FormatError, match="holds a net, not a checkpoint of a net"):
        resume()
    kept.write_bytes(b"nonsense")
    with pytest.raises(FormatError):
        resume()


def test_a_full_disk_ends_training_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = write_text(tmp_path, 40)
    kept = tmp_path / "training.checkpoint"
    train_net(path, checkpoint=kept, **{**QUICK, "epochs": 1})
    before = kept.read_bytes()
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from unrolled.neural.training import train_net; "
        f"train_net({path!r}, checkpoint={str(kept)!r}, **{ ({**QUICK, 'epochs': 1})!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**_environment(), "NUMBA_DISABLE_JIT": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "UnrolledError" in done.stderr
    assert kept.read_bytes() == before


def test_a_loss_that_explodes_says_where_and_what_to_try(tmp_path: Path) -> None:
    settings = {**QUICK, "optimiser": "sgd", "rate": 1e9, "clip_norm": 0, "cell": "irnn"}
    with pytest.raises(UnrolledError, match=r"diverged: the loss is .* at step \d+ of epoch 1\. "):
        train_net(write_text(tmp_path, 300), **settings)


def test_texts_that_cannot_be_trained_on(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(TextError, match="the text is empty: there is nothing to train on"):
        train_net(str(empty), **QUICK)
    with pytest.raises(TextError, match="the validation text is empty"):
        train_net(write_text(tmp_path, 5), valid=str(empty), **QUICK)


def test_one_word_and_unknown_words_in_validation_are_fine(tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.write_text("word\n")
    model = train_net(str(one), valid=write_text(tmp_path, 5), **QUICK)
    assert np.isfinite(model.score("word"))
    assert np.isfinite(model.score("never seen"))


@pytest.mark.parametrize(("settings", "message"), [
    ({"hiden": 5}, "no setting 'hiden'. Did you mean hidden"),
    ({"zzz": 5}, "no setting 'zzz'. Known are cell"),
    ({"epochs": 0}, "epochs is 0"), ({"optimiser": "rmsprop"}, "optimiser is 'rmsprop'"),
    ({"rate": 0.0}, "rate is 0.0"), ({"clip_norm": -1.0}, "clip_norm is -1.0"),
    ({"seed": -1}, "seed is -1"), ({"schedule": "step"}, "schedule is 'step'"),
])  # fmt: skip
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        split_settings(settings)


def test_mikolovs_schedule_halves_once_gains_are_small_and_then_stops() -> None:
    schedule = Schedule("halving", 100)
    entropies = [5.0, 4.8, 4.795, 4.70, 4.699]
    assert [schedule.epoch_ended(entropy) for entropy in entropies] == [True] * 4 + [False]
    assert schedule.factor == 0.25


def test_the_cosine_schedule_warms_up_and_falls() -> None:
    schedule = Schedule("cosine", 100, warmup=10)
    rates = [schedule.rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == rates[9]
    assert rates[100] == pytest.approx(0.01)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_patience_ends_training(tmp_path: Path) -> None:
    schedule = Schedule("constant", 100, patience=2)
    entropies = [5.0, 5.1, 4.9, 5.0, 4.95]
    assert [schedule.epoch_ended(entropy) for entropy in entropies] == [True] * 4 + [False]


def test_averages_are_means_and_leave_the_net_as_it_was() -> None:
    net = torch.nn.Linear(2, 1, bias=False)
    averager = Averager(net)
    with averager.in_place():
        pass
    values = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[8.0, 0.0]])]
    for place, value in enumerate(values):
        net.weight.data.copy_(value)
        averager.begin() if place == 0 else averager.add()
    with averager.in_place():
        torch.testing.assert_close(net.weight.data, torch.tensor([[4.0, 2.0]]))
    assert torch.equal(net.weight.data, values[2])


def test_averages_over_a_span_fade_exponentially() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    averager = Averager(net, span=2)
    assert averager.values()["weight"] == net.weight
    for place, value in enumerate((2.0, 4.0, 9.0, *[1.0] * 5)):
        net.weight.data.fill_(value)
        averager.begin() if place == 0 else averager.add()
    early = averager.values()["weight"].item() - 1
    for _ in range(3):  # the span is over: what came before counts half at each step
        averager.add()
    assert averager.values()["weight"].item() - 1 == pytest.approx(early / 8, rel=1e-4)


def test_averages_over_many_steps_take_one_of_several() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    averager, wanted, span = Averager(net, span=1000), 0.0, 1000
    for place in range(6001):
        net.weight.data.fill_(place)
        averager.begin() if place == 0 else averager.add()
        wanted += (place - wanted) * max(1 / span, 5 / (place + 5))
    assert averager.values()["weight"].item() == pytest.approx(wanted, abs=25)
