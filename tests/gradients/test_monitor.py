"""The monitor: on nets of other people, on ours, and what it says and leaves behind."""

from __future__ import annotations

import copy
import io
import json
import math
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from small_nets import write_text
from unrolled.errors import SettingError, UnrolledWarning
from unrolled.gradients.diagnostics import LayerState, Snapshot
from unrolled.gradients.lags import lags_of_module
from unrolled.gradients.monitor import GradientMonitor
from unrolled.gradients.monitor_view import MonitorView, snapshot_lines

V, E, H, B, T = 20, 6, 8, 5, 9


class Foreign(nn.Module):
    """A tagger that this project knows nothing of; its loss reads outputs and last state."""

    def __init__(self, kind: Any, layers: int, both: bool, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.vectors = nn.Embedding(V, E)
        self.body = kind(E, H, num_layers=layers, bidirectional=both, batch_first=batch_first)
        width = H * (2 if both else 1)
        self.tags, self.kinds = nn.Linear(width, 3), nn.Linear(H, 2)

    def forward(self, words: Tensor, lengths: Tensor | None) -> Tensor:
        x = self.vectors(words if self.batch_first else words.t())
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
        y, last = self.body(x)
        if lengths is not None:
            y, _ = pad_packed_sequence(y, batch_first=self.batch_first)
        h = last[0] if isinstance(last, tuple) else last
        return self.tags(y).square().sum() + self.kinds(h).square().sum()


def _words() -> Tensor:
    return torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_any_recurrent_module_of_a_foreign_model_is_watched(
    kind: Any, layers: int, both: bool, batch_first: bool, packed: bool
) -> None:
    torch.manual_seed(1)
    model = Foreign(kind, layers, both, batch_first)
    lengths = torch.tensor([4, 9, 7, 1, 9]) if packed else None
    with GradientMonitor(model) as monitor:
        model(_words(), lengths).backward()
        seen = monitor.step()
    assert seen is not None
    assert len(seen.layers) == layers * (2 if both else 1)
    assert len(seen.parameters) == len(list(model.parameters()))
    for layer in seen.layers:
        assert len(layer.norms) == T
        assert layer.norms[0] > 0
        assert sum(layer.shares) == pytest.approx(1, abs=1e-5)
    assert not model.body._forward_hooks


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_what_is_seen_are_the_gradients_by_lag_of_the_loops_own_loss(kind: Any) -> None:
    torch.manual_seed(1)
    model = Foreign(kind, 1, True, True)
    with torch.no_grad():
        model.kinds.weight.zero_()  # the last state has no error
        model.kinds.bias.zero_()
    with GradientMonitor(model) as monitor:
        model(_words(), None).backward()
        seen = monitor.step()
    assert seen is not None
    x = model.vectors(_words()).detach()
    wanted = lags_of_module(model.body, x, lambda y: model.tags(y).square().sum())
    for layer, other in zip(seen.layers, wanted.layers, strict=True):
        np.testing.assert_allclose(layer.norms, other.norms, rtol=1e-4)
        assert layer.reach == other.reach


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("lengths", [None, [4, 9, 7, 1, 9]])
def test_errors_that_come_in_by_the_last_state_are_carried_back_from_there(
    kind: Any, lengths: list[int] | None
) -> None:
    """A classifier reads only the last state: its error at lag k is the state's own gradient."""
    torch.manual_seed(1)
    body, given = kind(E, H), torch.randn(T, B, E)
    ends = lengths or [T] * B
    x: Any = given
    if lengths is not None:
        x = pack_padded_sequence(given, torch.tensor(lengths), enforce_sorted=False)
    with GradientMonitor(body) as monitor:
        _, last = body(x)
        (last[0] if kind is nn.LSTM else last).square().sum().backward()
        seen = monitor.step()
    assert seen is not None
    sums, counts = np.zeros(T), np.zeros(T)
    for b, end in enumerate(ends):
        alone = lags_of_module(body, given[:end, b : b + 1], lambda y: y[-1].square().sum())
        sums[:end] += alone.layers[0].sums
        counts[:end] += alone.layers[0].counts
    np.testing.assert_allclose(seen.layers[0].norms, sums / np.maximum(counts, 1), rtol=1e-4)


def test_training_is_the_same_under_the_monitor() -> None:
    found = []
    for watched in (False, True):
        torch.manual_seed(3)
        model = Foreign(nn.LSTM, 2, False, True)
        model.body.dropout = 0.3
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        monitor = GradientMonitor(model, every=2) if watched else None
        for _ in range(5):
            optimiser.zero_grad()
            model(_words(), None).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            if monitor is not None:
                monitor.step(norm)
            optimiser.step()
        found.append(copy.deepcopy(model).state_dict())
    for one, other in zip(found[0].values(), found[1].values(), strict=True):
        assert torch.equal(one, other)


def test_norms_are_those_before_clipping_whenever_it_is_told() -> None:
    torch.manual_seed(3)
    model = Foreign(nn.GRU, 1, False, True)
    model(_words(), None).backward()
    wanted = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    with GradientMonitor(model, clip_norm=0.5) as monitor:
        before = monitor.step()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    with GradientMonitor(model, clip_norm=0.5) as monitor:
        after = monitor.step(norm)
    for seen in (before, after):
        assert seen is not None
        assert seen.parameters == pytest.approx(wanted, rel=1e-4)
        assert seen.norm == pytest.approx(math.hypot(*wanted.values()), rel=1e-4)
        assert seen.clipped == 1
        assert seen.diagnostics[-1] == "100 % of the updates are clipped"


def test_clipping_is_counted_at_every_update() -> None:
    model = nn.RNN(E, H)
    with GradientMonitor(model, every=4, clip_norm=1.0) as monitor:
        seen = [monitor.step(torch.tensor(norm)) for norm in (0.5, 2.0, 0.5, 2.0, 2.0)]
    assert [found is not None for found in seen] == [True, False, False, False, True]
    assert seen[0] is not None
    assert seen[0].clipped == 0
    assert seen[4] is not None
    assert seen[4].clipped == 0.75


def test_the_record_is_one_line_of_json_a_look(tmp_path: Path) -> None:
    model, path = Foreign(nn.LSTM, 1, False, True), tmp_path / "record.jsonl"
    for append in (False, True):
        with GradientMonitor(model, every=2, record=path, append=append, step=3) as monitor:
            for _ in range(3):
                model(_words(), None).backward()
                monitor.step()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 5, 3, 5]
    assert set(lines[0]) == {"step", "seconds", "norm", "clipped", "parameters", "layers",
                             "diagnostics", "cost"}  # fmt: skip
    assert set(lines[0]["layers"][0]["radius"]) == {"input", "forget", "cell", "output"}
    GradientMonitor(model, record=path).close()
    assert path.read_text() == ""


def test_gradients_that_are_no_numbers_are_said_and_are_null() -> None:
    model = Foreign(nn.RNN, 1, False, True)
    with torch.no_grad():
        model.tags.weight[0, 0] = torch.nan
    with GradientMonitor(model) as monitor:
        model(_words(), None).backward()
        seen = monitor.step()
    assert seen is not None
    assert seen.diagnostics[0].startswith("the gradient is not finite: vectors.weight, body.weight")
    assert seen.diagnostics[1] == "body: gradients are not finite"
    assert json.loads(seen.json())["norm"] is None


def test_it_warns_early_of_gradients_that_vanish_and_that_explode() -> None:
    torch.manual_seed(1)
    words = []
    for scale in (0.3, 3.0):
        body = nn.RNN(E, H, nonlinearity="relu")
        with torch.no_grad():
            body.weight_hh_l0.copy_(torch.eye(H) * scale)
            body.bias_ih_l0.fill_(1)
        with GradientMonitor(body) as monitor:
            body(torch.randn(T, B, E))[0].sum().backward()
            seen = monitor.step()
        assert seen is not None
        words += seen.diagnostics
        assert seen.layers[0].radius["state"] == pytest.approx(scale, rel=1e-3)
    assert words[0] == "RNN: gradients beyond lag 3 are under 1 % of the total"
    assert words[1].startswith("RNN: gradients grow with the lag, at lag 8 they are ")


def test_of_a_large_batch_some_sentences_and_steps_are_enough() -> None:
    torch.manual_seed(1)
    body, x = nn.GRU(E, H), torch.randn(40, 30, E)
    norms = []
    for options in ({}, {"sentences": 30, "sources": 40}):
        with GradientMonitor(body, **options) as monitor:  # type: ignore[arg-type]
            body(x)[0].square().sum().backward()
            seen = monitor.step()
        assert seen is not None
        norms.append(seen.layers[0].norms[:10])
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.3)
    assert norms[0] != norms[1]


def test_evaluation_copies_and_closed_monitors_see_nothing() -> None:
    model = Foreign(nn.LSTM, 1, False, True)
    monitor = GradientMonitor(model)
    with torch.no_grad():
        model(_words(), None)
    assert not monitor._calls
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for clone in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        clone(_words(), None)
        assert not monitor._calls
    model(_words(), None)
    assert monitor._calls
    monitor.close()
    model(_words(), None)
    assert not monitor._calls


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])  # few CPUs have an LSTM in bfloat16
def test_products_in_lower_precision_are_no_hindrance(kind: Any) -> None:
    torch.manual_seed(1)
    model, norms = Foreign(kind, 1, False, True), []
    for lower in (False, True):
        with GradientMonitor(model) as monitor:
            with torch.autocast("cpu", torch.bfloat16, enabled=lower):
                loss = model(_words(), None)
            loss.backward()
            seen = monitor.step()
        assert seen is not None
        norms.append(seen.layers[0].norms)
        model.zero_grad()
    assert norms[0] == pytest.approx(norms[1], rel=0.2)
    assert norms[0] != norms[1]


def test_it_looks_less_often_where_looks_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    import unrolled.gradients.monitor as module

    clock = {"now": 0.0}
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock["now"])
    monitor = GradientMonitor(nn.RNN(E, H), every=10, budget=0.05)
    took = 1.0

    def slow(norm: Any) -> None:
        clock["now"] += took

    monkeypatch.setattr(monitor, "_publish", slow)
    for _ in range(200):
        clock["now"] += 0.1
        monitor.step()
    assert monitor.every > 150  # a look of 1 s, a step of 0.1 s: 5 % is every 200 steps
    took = 0.001
    for _ in range(1000):
        clock["now"] += 0.1
        monitor.step()
    assert monitor.every == 10
    monitor.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0, allowed are 1 and more"),
        ({"sentences": 0}, "sentences is 0, allowed are 1 and more"),
        ({"sources": 0}, "sources is 0, allowed are 1 and more"),
        ({"budget": 1.0}, "budget is 1.0 and clip_norm 0.0, allowed are 0 to below 1"),
        ({"clip_norm": -1.0}, "budget is 0.05 and clip_norm -1.0, allowed are"),
        ({"record": "/no/such/folder/x"}, "the folder /no/such/folder does not exist"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        GradientMonitor(nn.RNN(E, H), **options)


def test_what_it_cannot_look_into_is_said_and_training_goes_on() -> None:
    with pytest.warns(UnrolledWarning, match="the model has no recurrent layer that the monitor"):
        monitor = GradientMonitor(nn.Linear(3, 3))
    model = nn.Sequential(nn.LSTM(E, H, proj_size=2))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        monitor = GradientMonitor(model)
    assert "0: the LSTM has projections (proj_size is 2)" in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has a word on projections too
        model(torch.randn(T, B, E))[0].sum().backward()
    seen = monitor.step()
    assert seen is not None
    assert (seen.layers, len(seen.parameters)) == ([], 5)


def test_errors_of_losses_that_are_derived_one_by_one_add_up() -> None:
    torch.manual_seed(1)
    body, x = nn.LSTM(E, H), torch.randn(T, B, E)
    norms = []
    for together in (True, False):
        with GradientMonitor(body) as monitor:
            y, (h, _) = body(x)
            losses = [y[2].square().sum(), h.sum(), y[5].sum()]
            for loss in [torch.stack(losses).sum()] if together else losses:
                loss.backward(retain_graph=True)
            seen = monitor.step()
        assert seen is not None
        norms.append(seen.layers[0].norms)
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_sparse_gradients_have_norms_too() -> None:
    model = Foreign(nn.RNN, 1, False, True)
    model.vectors = nn.Embedding(V, E, sparse=True)
    with GradientMonitor(model) as monitor:
        model(_words(), None).backward()
        seen = monitor.step()
    assert seen is not None
    dense = model.vectors.weight.grad.to_dense()
    assert seen.parameters["vectors.weight"] == pytest.approx(float(dense.norm()))


def test_omega_of_plain_nets_is_the_regularisers() -> None:
    from unrolled.gradients.omega import omega_of
    from unrolled.neural.cells import Cell

    torch.manual_seed(1)
    cell, x = Cell("elman", E, H), torch.randn(T, B, E)
    start = (torch.zeros(B, H),)
    with GradientMonitor(cell) as monitor:
        cell(x, start)[0].square().sum().backward()
        seen = monitor.step()
    states, _ = cell.run_fused(x, start)
    assert seen is not None
    wanted = float(omega_of(cell, states.square().sum(), states).detach())
    assert seen.layers[0].omega == pytest.approx(wanted, rel=1e-4)
    # What comes in by the last state counts as an error of the last step.
    found = []
    for by_output in (True, False):
        body = nn.RNN(E, H)
        torch.manual_seed(1)
        body.reset_parameters()
        with GradientMonitor(body) as monitor:
            y, last = body(x)
            (y[-1] if by_output else last).square().sum().backward()
            seen = monitor.step()
        assert seen is not None
        found.append(seen.layers[0].omega)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert monitor.last is not None
    with GradientMonitor(nn.GRU(E, H)) as monitor:
        monitor.model(x)[0].sum().backward()
        seen = monitor.step()
    assert seen is not None
    assert seen.layers[0].omega is None


# -- our own training ------------------------------------------------------------------------------


def test_our_training_is_the_same_under_the_monitor_and_leaves_a_record(tmp_path: Path) -> None:
    from unrolled.neural.training import train_net

    text = write_text(tmp_path, 100)
    settings: dict[str, Any] = {"hidden": 12, "layers": 2, "classes": 4, "batch": 4, "bptt": 6,
                                "epochs": 1}  # fmt: skip
    record = tmp_path / "record.jsonl"
    plain = train_net(text, **settings)
    watched = train_net(text, monitor=partial(GradientMonitor, record=record, every=5), **settings)
    for one, other in zip(plain.net.parameters(), watched.net.parameters(), strict=True):
        assert torch.equal(one, other)
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert lines[1]["step"] == 5
    assert [layer["name"] for layer in lines[0]["layers"]] == ["layers.0", "layers.1"]
    assert lines[0]["clipped"] is not None
    assert not any(cell._forward_hooks for cell in watched.net.layers)


def test_plain_backpropagation_has_no_lags(tmp_path: Path) -> None:
    from unrolled.neural.training import train_net

    seen: list[Snapshot] = []
    train_net(
        write_text(tmp_path, 20), hidden=12, classes=4, batch=4, epochs=1, bptt=1, cell="elman",
        monitor=partial(GradientMonitor, watch=seen.append),
    )  # fmt: skip
    assert seen[0].norm > 0
    assert seen[0].layers == []


# -- the view --------------------------------------------------------------------------------------


def _snapshot(step: int = 7) -> Snapshot:
    layer = LayerState("rnn", [1.0, 0.1, 0.0], [0.9, 0.1, 0.0], 1, {"state": 0.9}, {}, 0.25)
    parameters = {"a": 1.0, "b": 2.0}
    return Snapshot(step, 1.0, 2.24, 0.5, parameters, [layer], ["rnn: it vanishes"], 0.01)


def test_a_look_is_a_few_lines() -> None:
    assert snapshot_lines(_snapshot()) == [
        "step 7, gradient norm 2.24, clipped 50 %, b 2, a 1",
        "rnn: lag 0 █▆  2, reaches 1, radius 0.90, dead 25 %",
        "! rnn: it vanishes",
    ]


def test_without_a_terminal_diagnostics_come_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = MonitorView()
    view.show(_snapshot())
    view.show(_snapshot(8))
    view.say("epoch 1")
    view.title("not shown")
    view.close()
    assert capsys.readouterr().err.splitlines() == [
        "step 7: rnn: it vanishes",
        "step 7, gradient norm 2.24, clipped 50 %, b 2, a 1",
        "epoch 1",
    ]


def test_on_a_terminal_the_last_look_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    view = MonitorView()
    view.title("epoch 1 of 2, [50 %]")
    view.show(_snapshot())
    view.say("said [aloud]")
    view.close()
    shown = capsys.readouterr().err
    assert "epoch 1 of 2, [50 %]" in shown
    assert "! rnn: it vanishes" in shown
    assert "said [aloud]" in shown
