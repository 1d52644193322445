"""Which of two symbols came first? Success by length, for each cure of vanishing gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.experiments.populations import Population, Rule

SOURCE = (
    "R. Pascanu, T. Mikolov, Y. Bengio. On the difficulty of training recurrent neural networks. "
    "ICML 2013, the temporal-order problem. Their settings: 50 units, rate 0.01, clipping at norm "
    "1, Omega with weight 4, batches of 20, at most 5 million updates, solved at under 1 % errors "
    "on 10,000 fresh sequences."
)
PUBLISHED: dict[str, dict[str, float]] = {}  # their success rates are a figure without numbers

SYMBOLS, ANSWERS = 6, 4  # A, B and four distractors; AA, BA, AB, BB
SOLVED = 0.01


@dataclass(frozen=True)
class Settings:
    """One size of the experiment.

    Args:
        lengths: of the sequences.
        seeds: nets of each method.
        hidden: units of each net.
        rate: of plain, clipped and regularised descent.
        updates: after so many a net has failed.
        check: updates between tests of whether it has not.
        fresh: sequences of the test that decides.
        rivals: lengths at which LSTM, IRNN, Hessian-free and echo state stand beside.
        rival_seeds: nets of each of those.
    """

    lengths: tuple[int, ...]
    seeds: int
    hidden: int = 50
    rate: float = 0.01
    updates: int = 5_000_000
    check: int = 500
    fresh: int = 10_000
    rivals: tuple[int, ...] = ()
    rival_seeds: int = 5


SETTINGS = {
    "smoke": Settings((10,), 1, hidden=20, rate=0.1, updates=60, check=30, fresh=500,
                      rivals=(10,), rival_seeds=1),
    # Ten times the published rate, so that ten thousand updates are enough.
    "laptop": Settings((10, 20, 30, 50), 5, rate=0.1, updates=10_000, rivals=(50,)),
    "paper": Settings((50, 100, 150, 200), 50, check=5000, rivals=(50, 100, 150, 200)),
}  # fmt: skip
RULES = (
    Rule("SGD"),
    Rule("SGD + clipping", clip=1.0),
    Rule("SGD + clipping + Omega", clip=1.0, omega=4.0),
)


def sequences(
    length: int, shape: tuple[int, int], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Symbols (M, T, B) int64 and answers (M, B) int64 of ``shape`` (M, B).

    A or B (0 or 1) stands at a random place of [T/10, 2 T/10) and again of [T/2, 6 T/10), and one
    of four distractors (2 to 5) everywhere else; the answer is first + 2 * second.
    # Differs from the paper's text, whose second is in [4 T/10, 5 T/10): this is their code's.

    Raises:
        SettingError: fewer than ten symbols, in which the places have no room.

    >>> x, y = sequences(10, (1, 2), torch.Generator().manual_seed(0))
    >>> x.shape, bool((x[:, 1] + 2 * x[:, 5] == y).all())
    (torch.Size([1, 10, 2]), True)
    """
    if length < 10:
        raise SettingError(f"the length is {length}, allowed are 10 and more")
    nets, batch = shape
    x = torch.randint(2, SYMBOLS, (nets, length, batch), generator=random)
    marks = torch.randint(0, 2, (nets, 2, batch), generator=random)
    places = torch.randint(0, length // 10, (nets, 2, batch), generator=random)
    places += torch.tensor([length // 10, length // 2])[:, None]
    x.scatter_(1, places, marks)
    return x, marks[:, 0] + 2 * marks[:, 1]


def run(
    data: Path | None, size: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """All methods at all lengths; the share of nets that solved it, and after how many updates."""
    from unrolled.experiments import temporal_order_rivals as rivals
    from unrolled.report.experiment_plots import line_panels, require_matplotlib

    require_matplotlib()
    settings, rows = SETTINGS[size], []
    torch.set_flush_denormal(True)  # errors that vanish are slow as denormal numbers
    try:
        for length in settings.lengths:
            rows += descend(length, settings, report)
        for length in settings.rivals:
            rows += rivals.all_of(length, settings, report)
    finally:
        torch.set_flush_denormal(False)
    table = {f"{row['method']}, length {row['length']}": _cells(row) for row in rows}
    picture = folder / f"temporal-order-{size}.svg"
    picture.write_text(
        line_panels(
            {"": _lines(rows)}, x_label="length", y_label="nets that solved it, %", markers=True
        ),
        encoding="utf-8",
    )
    return {"table": table, "pictures": [picture.name], "settings": asdict(settings), "rows": rows}


def _lines(rows: list[dict[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        xs, ys = lines.setdefault(row["method"], ([], []))
        xs.append(row["length"])
        ys.append(_cells(row)["solved, %"])
    return lines


def descend(length: int, settings: Settings, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Plain, clipped and regularised descent at one length, all nets side by side."""
    rules = [replace(rule, rate=settings.rate) for rule in RULES]
    population = Population(
        [rule for rule in rules for _ in range(settings.seeds)],
        [seed for _ in rules for seed in range(settings.seeds)],
        symbols=SYMBOLS, hidden=settings.hidden, answers=ANSWERS,
    )  # fmt: skip
    runs: dict[tuple[str, int], dict[str, Any]] = {}
    random = torch.Generator().manual_seed(length)
    for update in range(1, settings.updates + 1):
        _, norms = population.update(*sequences(length, (len(population), 20), random))
        if update % settings.check and update != settings.updates:
            continue
        errors = _errors(population, length, settings.fresh, random)
        going = []
        for net, (name, error) in enumerate(zip(population.names, errors, strict=True)):
            # Plain descent that was thrown off to numbers that are none does not come back.
            lost = not bool(norms[net].isfinite()) and not bool(population.clip[net].isfinite())
            runs[name] = {"updates": update, "error": error, "solved": error < SOLVED}
            if error >= SOLVED and not lost:
                going.append(net)
        report(f"length {length}, {update} updates: {_progress(runs)}")
        population.keep(going)
        if not going:
            break
    return [summary(rule.name, length, _of(rule.name, runs)) for rule in RULES]


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


def summary(method: str, length: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A row: what became of a method's nets at one length."""
    return {"method": method, "length": length, "runs": runs}


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
