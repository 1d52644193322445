"""Which of two symbols came first? Success by length, for each remedy of vanishing gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import torch

from unrolled.experiments.checks import Spread
from unrolled.experiments.populations import Population, Rule
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.temporal_order_nets import (
    ANSWERS,
    SOLVED,
    SYMBOLS,
    Settings,
    sequences,
    train_others,
)
from unrolled.report.bar_chart import bar_chart

SOURCE = (
    "R. Pascanu, T. Mikolov, Y. Bengio. On the difficulty of training recurrent neural networks. "
    "ICML 2013, the temporal-order problem. Their settings: 50 units, rate 0.01, clipping at norm "
    "1, Omega with weight 4, batches of 20, at most 5 million updates, solved at under 1 % errors "
    "on 10,000 fresh sequences."
)
PUBLISHED: dict[str, dict[str, float]] = {}  # their success rates are a figure without numbers
SPREAD = {  # one net of five, or a check earlier or later
    "solved, %": Spread(absolute=20), "updates when solved": Spread(relative=0.5, absolute=500),
    "wrong at the end, %": Spread(absolute=15),
}  # fmt: skip

SETTINGS = {
    "smoke": Settings((10,), 1, hidden=20, rate=0.1, updates=60, check=30, fresh=500,
                      others=(10,), other_seeds=1),
    # Ten times the published rate, so that ten thousand updates are enough.
    "laptop": Settings((10, 20, 30, 50), 5, rate=0.1, updates=10_000, others=(50,)),
    "paper": Settings((50, 100, 150, 200), 50, check=5000, others=(50, 100, 150, 200)),
}  # fmt: skip
RULES = (
    Rule("SGD"),
    Rule("SGD + clipping", clip=1.0),
    Rule("SGD + clipping + Omega", clip=1.0, omega=4.0),
)


def run(setup: Setup) -> Results:
    """All methods at all lengths; the share of nets that solved it, and after how many updates."""
    settings, rows = SETTINGS[setup.size], []
    torch.set_flush_denormal(True)  # errors that vanish are slow as denormal numbers
    try:
        for length in settings.lengths:
            rows += descend(length, settings, setup.report, setup.seed)
        for length in settings.others:
            rows += train_others(length, settings, setup.report, setup.seed)
    finally:
        torch.set_flush_denormal(False)
    table = {f"{row['method']}, length {row['length']}": _cells(row) for row in rows}
    return {"table": table, "settings": asdict(settings), "rows": rows}


def draw(results: Results) -> dict[str, str]:
    """The share of nets that solved it, a row for each method and a column for each length."""
    shares: dict[str, dict[str, float]] = {}
    for row in results["rows"]:
        cells = shares.setdefault(row["method"], {})
        cells[f"length {row['length']}"] = _cells(row)["solved, %"]
    columns = list(dict.fromkeys(column for cells in shares.values() for column in cells))
    return {
        "": bar_chart(
            shares, columns, "Nets that solved the temporal-order problem",
            highest=100, label="nets that solved it, %",
        )
    }  # fmt: skip


def descend(
    length: int, settings: Settings, report: Callable[[str], None], first_seed: int = 0
) -> list[dict[str, Any]]:
    """Plain, clipped and regularised descent at one length, all nets in one population."""
    rules = [replace(rule, rate=settings.rate) for rule in RULES]
    population = Population(
        [rule for rule in rules for _ in range(settings.seeds)],
        [first_seed + seed for _ in rules for seed in range(settings.seeds)],
        symbols=SYMBOLS, hidden=settings.hidden, answers=ANSWERS,
    )  # fmt: skip
    runs: dict[tuple[str, int], dict[str, Any]] = {}
    random = torch.Generator().manual_seed(first_seed + length)
    for update in range(1, settings.updates + 1):
        _, norms = population.update(*sequences(length, (len(population), 20), random))
        if update % settings.check and update != settings.updates:
            continue
        errors = _errors(population, length, settings.fresh, random)
        going = []
        for net, (name, error) in enumerate(zip(population.names, errors, strict=True)):
            # Plain descent whose weights have become NaN does not recover.
            lost = not bool(norms[net].isfinite()) and not bool(population.clip[net].isfinite())
            runs[name] = {"updates": update, "error": error, "solved": error < SOLVED}
            if error >= SOLVED and not lost:
                going.append(net)
        report(f"length {length}, {update} updates: {_progress(runs)}")
        population.keep(going)
        if not going:
            break
    return [{"method": rule.name, "length": length, "runs": _of(rule.name, runs)} for rule in RULES]


def _errors(
    population: Population, length: int, fresh: int, random: torch.Generator
) -> list[float]:
    """Share of wrong answers of each net: on a tenth of the fresh sequences, or on all if few."""
    errors = torch.zeros(len(population))
    parts = 10
    for part in range(parts):
        x, y = sequences(length, (len(population), max(fresh // parts, 1)), random)
        errors += (population.answers(x) != y).float().mean(1)
        if part == 0 and float(errors.min()) > 2 * SOLVED:
            return errors.tolist()
    return (errors / parts).tolist()


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    runs = row["runs"]
    solved = [run["updates"] for run in runs if run["solved"]]
    return {
        "solved, %": 100 * len(solved) / len(runs),
        "nets": len(runs),
        "updates when solved": median(solved) if solved else None,
        "wrong at the end, %": 100 * sum(run["error"] for run in runs) / len(runs),
    }


def _of(name: str, runs: dict[tuple[str, int], dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"seed": seed, **found} for (rule, seed), found in runs.items() if rule == name]


def _progress(runs: dict[tuple[str, int], dict[str, Any]]) -> str:
    parts = []
    for rule in RULES:
        found = _of(rule.name, runs)
        solved = sum(run["solved"] for run in found)
        parts.append(f"{rule.name} {solved} of {len(found)}")
    return ", ".join(parts)
