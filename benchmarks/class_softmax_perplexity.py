"""Bar: perplexity with the class-factored softmax against the full softmax trained to its end.

The full softmax takes its time: half an hour on two cores.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.measure import Bar, Comparison, Report
from benchmarks.workspace import Workspace

NEEDS = ()
_BAR = Bar(at_most=1.05)
_NET: dict[str, Any] = {
    "cell": "elman", "hidden": 200, "batch": 64, "bptt": 35, "epochs": 6, "dropout_input": 0.1,
    "dropout_output": 0.3,
}  # fmt: skip
_OUTPUTS: dict[str, dict[str, Any]] = {
    "classes": {"output_layer": "classes", "classes": 100},
    "full": {"output_layer": "full"},
}


def run(workspace: Workspace, report: Report) -> None:
    """The same Elman net of 200 units and the same passes, with either output layer."""
    try:
        from unrolled.neural.training import train_net
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    from unrolled.language_models.evaluation import evaluate

    train, valid, test = (str(workspace.ptb(part)) for part in ("train", "valid", "test"))
    perplexities = {}
    show = partial(print, flush=True)
    for name, output in _OUTPUTS.items():
        model = train_net(
            train, valid=valid, threads=workspace.settings.threads, report=show, **_NET, **output
        )
        perplexities[name] = evaluate(model, test).perplexity
        report.details[name] = model.provenance["training"]["curve"]
    name = f"test perplexity, Elman {_NET['hidden']}, {_NET['epochs']} epochs"
    ours, theirs = [perplexities["classes"]], [perplexities["full"]]
    report.add(Comparison(name, "", ours, theirs, "full softmax", _BAR))
