"""Measurements of trained nets on texts and of fresh cells: tables, diagnostics and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_nets import small_model, write_text
from unrolled.errors import SettingError, TextError
from unrolled.gradients.by_lag import LayerLags
from unrolled.gradients.diagnostics import of_lags, of_units
from unrolled.gradients.lags import trace_net
from unrolled.gradients.measure import CELLS, compare_cells, measure_cell, measure_gradients
from unrolled.neural.streams import contiguous_batches, steps_of
from unrolled.text.corpus import read_corpus


def test_a_nets_report_sums_up_the_batches_of_the_text(tmp_path: Path) -> None:
    text = write_text(tmp_path, 40)
    model = small_model(cell="gru", layers=2)
    report = measure_gradients(model, text, steps=8, batch=4, batches=3)
    corpus = read_corpus(text, options=model.text_options, vocabulary=model.vocabulary)
    sums, state = np.zeros(8), None
    batches = list(contiguous_batches(steps_of(corpus.ids), 4, 8))[:3]
    for batch in batches:
        words, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        trace = trace_net(model.net, words, targets, state)
        lags, state = trace.lags(), trace.after
        sums += lags.layers[1].sums
    np.testing.assert_allclose(report.lags.layers[1].sums, sums, rtol=1e-6)
    assert report.settings == {"steps": 8, "batch": 4, "batches": 3}
    assert [layer.name for layer in report.lags.layers] == ["layer 1", "layer 2"]
    # Its loss is the model's own: -log p of a word, of the same words.
    ids = corpus.ids
    assert report.loss == pytest.approx(-model.text_log_probs(ids).sum() / corpus.tokens, rel=0.1)


def test_nets_of_independent_sentences_are_looked_at_sentence_by_sentence(tmp_path: Path) -> None:
    model = small_model(cell="elman", reset_state_per_sentence=True)
    report = measure_gradients(model, write_text(tmp_path, 40), steps=30, batch=8, batches=2)
    assert 5 < len(report.lags.layers[0].norms) < 30  # no sentence is longer


def test_a_short_text_is_cut_into_fewer_parts(tmp_path: Path) -> None:
    report = measure_gradients(small_model(cell="irnn"), write_text(tmp_path, 4), steps=10)
    assert report.lags.layers[0].counts[9] > 0


def test_a_net_as_it_began_is_another_one_of_its_make(tmp_path: Path) -> None:
    text, model = write_text(tmp_path, 40), small_model(cell="lstm")
    before = torch.random.get_rng_state()
    began = measure_gradients(model, text, steps=8, batch=4, fresh=1)
    again = measure_gradients(model, text, steps=8, batch=4, fresh=1)
    trained = measure_gradients(model, text, steps=8, batch=4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert began.name == "lstm-12, untrained"
    assert began.lags.layers[0].norms.tolist() == again.lags.layers[0].norms.tolist()
    assert began.lags.layers[0].norms.tolist() != trained.lags.layers[0].norms.tolist()


def test_fresh_cells_tell_the_known_story() -> None:
    before = torch.random.get_rng_state()
    reports = compare_cells(hidden=30, steps=25, batch=4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert list(reports) == list(CELLS)
    last = {name: report.lags.layers[0].norms[-1] for name, report in reports.items()}
    for report in reports.values():
        assert report.lags.layers[0].norms[0] == pytest.approx(1, rel=1e-5)
    assert last["elman sigmoid"] < 1e-9
    assert last["elman sigmoid"] < last["elman tanh"] < last["elman tanh, orthogonal"]
    assert last["elman tanh"] < last["lstm, forget bias 0"] < last["lstm, forget bias 1"]
    assert last["irnn (ReLU, identity)"] > 0.1
    assert reports["elman tanh"].settings["start"] == ""


def test_weights_by_lag_come_where_they_are_asked_for() -> None:
    report = measure_cell("gru", hidden=6, steps=5, weights=True)
    shares = report.record()["layers"][0]["weight_shares"]
    assert sum(shares) == pytest.approx(1)
    rows = [line.split() for line in report.table().splitlines()]
    assert rows[0][4:6] == ["of", "dU"]
    assert rows[2][6] == f"{100 * shares[1]:.2f}"
    assert "weight_shares" not in measure_cell("gru", hidden=6, steps=5).record()["layers"][0]


def test_the_table_and_the_record_hold_the_same_numbers() -> None:
    report = measure_cell("lstm", hidden=6, layers=2, steps=9, batch=3)
    parts = report.table().split("\n\n")
    record = json.loads(json.dumps(report.record()))
    for part, layer in zip(parts, record["layers"], strict=True):
        title, head, *rows = part.splitlines()
        assert title == layer["name"]
        assert head.split() == ["lag", "norm", "share", "beyond", "cell", "highway", "|J|", "bound"]
        cells = rows[1].split()
        assert float(cells[1]) == pytest.approx(layer["norms"][1], rel=5e-3)
        assert float(cells[6]) == pytest.approx(layer["cell_norms"][1], rel=5e-3)
        assert float(cells[8]) == pytest.approx(layer["jacobians"]["norms"][0], rel=5e-3)
        assert rows[-1].split()[0] == "8"
    assert record["diagnostics"] == report.diagnostics()


def test_diagnostics_report_what_vanishes_and_what_explodes() -> None:
    def layer(norms: list[float]) -> LayerLags:
        sums = np.array(norms)
        ones = np.ones(len(norms))
        return LayerLags("layer 1", sums, ones, np.diag(sums), np.diag(ones))

    assert of_lags(layer([100, 1, 0.1, 0.1])) == [
        "layer 1: gradients beyond lag 1 are under 1 % of the total"
    ]
    assert of_lags(layer([1, 1, 1])) == []
    assert of_lags(layer([1, 5, 50])) == [
        "layer 1: gradients grow with the lag, at lag 2 they are 50 times those at lag 0"
    ]
    assert of_lags(layer([0, 0])) == ["layer 1: no gradient arrives"]
    assert of_lags(layer([1, np.inf])) == ["layer 1: gradients are not finite"]
    assert of_units("layer 1", 0.25, {"state": 0.9}) == [
        "layer 1: 25 % of the units are dead or saturated throughout"
    ]
    assert of_units("layer 1", 0.0, {"state": 0.5}) == ["layer 1: 50 % of the states are saturated"]
    assert of_units("layer 1", 0.0, {"state": 0.2}) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps is 1, allowed are 2 and more"),
        ({"hidden": 0}, "hidden is 0, allowed are 1 and more"),
        ({"cell": "rnn"}, "the cell 'rnn' is unknown, allowed are elman, irnn, lstm, gru"),
        ({"start": "zeros"}, "the initialisation 'zeros' is unknown"),
    ],
)
def test_bad_settings_of_cells_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        measure_cell(**options)


def test_what_is_no_recurrent_net_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="only recurrent nets have gradients through time"):
        measure_gradients(small_model(cell="feed-forward"), write_text(tmp_path, 4))
    with pytest.raises(SettingError, match="batches is 0, allowed are 1 and more"):
        measure_gradients(small_model(), write_text(tmp_path, 4), batches=0)
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(TextError, match="the text is empty: it has no gradients"):
        measure_gradients(small_model(), str(empty))
    with pytest.raises(SettingError, match="there is no cell 'prayer', known are elman tanh; "):
        compare_cells(["prayer"])


@pytest.mark.slow
def test_the_pictures_in_the_docs_are_those_of_the_command(tmp_path: Path) -> None:
    from report.drawn import Drawn
    from unrolled.report.gradient_plots import write_pictures

    docs = Path(__file__).parents[2] / "docs" / "gradients"
    drawn = {
        path.name: path for path in write_pictures(tmp_path, measure_cell("elman"), compare_cells())
    }
    for path in docs.glob("*.svg"):
        ours, theirs = (Drawn(picture.read_text()).texts for picture in (path, drawn[path.name]))
        assert [text.words for text in ours] == [text.words for text in theirs]
