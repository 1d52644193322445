"""Bar: the table of classes: speed of training at its best row, and perplexity at every row.

Speeds are measured now, of all rows in turn. Perplexities are those of the experiment
``mikolov2011-table3`` in results/, which takes hours: compared with the published ones, with which
rows that it lacks are listed.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import Bar, Comparison, Report
from benchmarks.workspace import Workspace

NEEDS = ()
_SPEED, _PERPLEXITY = Bar(at_least=18), Bar(at_most=1.0)
_RESULTS = Path(__file__).parents[1] / "results" / "mikolov2011-table3-laptop.json"


def run(workspace: Workspace, report: Report) -> None:
    """An Elman net of 200 units with 30 to 8,000 classes of words by frequency, and with none."""
    try:
        import unrolled.neural  # noqa: F401 (before torch: it settles how torch's threads wait)
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    from unrolled.experiments.mikolov2011_table3 import PUBLISHED, settings_of
    from unrolled.experiments.training_speed import medians, speeds_in_turn
    from unrolled.text.corpus import read_corpus

    settings = workspace.settings
    speeds = speeds_in_turn(
        read_corpus(str(workspace.ptb("train"))), settings_of("laptop"),
        rounds=settings.repeats, threads=settings.threads,
    )  # fmt: skip
    report.details["speeds"] = speeds
    middle = medians({name: own for name, own in speeds.items() if name != "full"})
    best = max(middle, key=lambda name: middle[name])
    for name, own in speeds.items():
        if name != "full":
            bar = _SPEED if name == best else None
            what = f"training with {name} classes, Elman 200"
            report.add(Comparison(what, "words/s", own, speeds["full"], "our full softmax", bar))
    table = json.loads(_RESULTS.read_text(encoding="utf-8"))["results"]["table"]
    for name, published in PUBLISHED.items():
        if name in table:
            what = f"test perplexity, {name} classes"
            ours, theirs = [table[name]["alone"]], [float(published["alone"])]
            report.add(Comparison(what, "", ours, theirs, "published", _PERPLEXITY))
    missing = [name for name in PUBLISHED if name not in table]
    if missing:
        report.note(f"the results lack the rows {', '.join(missing)}")
