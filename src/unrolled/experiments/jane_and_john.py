"""The lecture's sentence: a name seen once, and the same name asked for k words later.

"Jane walked into the room. John walked in too. It was late in the day. Jane said hi to ____": only
the names matter, and they are far back. Here a sentence names one person at its start, other words
follow, and "said hi to" asks for the name. How far back does each cell still get it right, and how
much of the error reaches the name?
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.experiments.checks import NOT_COMPARED, Spread
from unrolled.experiments.sequence_classifier import SequenceClassifier
from unrolled.experiments.setup import Results, Setup
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import initialise
from unrolled.report.canvas import MARKERS
from unrolled.report.line_chart import Line, Panel, line_chart, numbered
from unrolled.report.scales import Axis
from unrolled.report.style import Maths

SOURCE = (
    "Our own experiment on the sentence of R. Socher's lecture on recurrent networks, CS224d 2016."
)
PUBLISHED: dict[str, dict[str, float]] = {}

NAMES = ("jane", "john", "mary", "peter", "anna", "paul", "lucy", "mark")
FILLERS = (
    "walked", "into", "the", "room", ".", "it", "was", "late", "in", "day", "and", "sun", "went",
    "down", "over", "a", "quiet", "town", "then", "they", "all",
)  # fmt: skip
QUESTION = ("said", "hi", "to")
WORDS = (*NAMES, *FILLERS, *QUESTION)
RIGHT = 0.9  # a distance counts as bridged from this share of right names on


_SHOWN = (2, 10, 20, 40, 100)  # distances in the table, and the last

SPREAD = {
    "right from so many words": NOT_COMPARED,  # one wrong name more halves it
    **{f"right after {k}, %": Spread(absolute=8.0) for k in (*_SHOWN, 400, 1000)},
    **{f"log10 of the gradient's share after {k}": Spread(absolute=1.0) for k in (400, 1000)},
}


@dataclass(frozen=True)
class Settings:
    """One size.

    Args:
        distances: words between name and question in tests. In training all numbers up to the last
            occur, as often between each two of these; a cell that saw only these would tune itself
            to them alone.
        updates: of Adam.
        beyond: more distances in tests, which training never saw.
    """

    distances: tuple[int, ...]
    updates: int
    beyond: tuple[int, ...] = ()
    hidden: int = 64
    batch: int = 32
    rate: float = 2e-3
    fresh: int = 500
    seeds: int = 1

    @property
    def tested(self) -> tuple[int, ...]:
        """All distances of tests."""
        return self.distances + self.beyond


SETTINGS = {
    "smoke": Settings((2, 5), 30, hidden=16, fresh=50),
    "laptop": Settings((2, 5, 10, 20, 40, 60, 80, 100), 4000, (200, 400), seeds=2),
    "paper": Settings(
        (2, 5, 10, 20, 40, 60, 80, 100, 150, 200), 20_000, (400, 1000), hidden=128, seeds=5
    ),
}
# Cells by the names of the table; every one is trained by Adam, clipped at norm 1, at one rate, but
# the IRNN, whose authors too take it slower.
CELLS: dict[str, dict[str, Any]] = {
    "tanh": {"kind": "elman"},
    "tanh, orthogonal": {"kind": "elman", "start": "orthogonal"},
    "ReLU": {"kind": "elman", "nonlinearity": "relu"},
    "IRNN": {"kind": "irnn", "slower": 4.0},
    "GRU": {"kind": "gru"},
    "LSTM": {"kind": "lstm"},
}


def sentences(distance: int, size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Words (T, B) int64 with T = 1 + distance + 3, and the names (B,) that come next.

    >>> x, names = sentences(2, 1, torch.Generator().manual_seed(0))
    >>> [WORDS[word] for word in x[:, 0]], NAMES[names[0]]
    (['anna', 'room', 'over', 'said', 'hi', 'to'], 'anna')
    """
    names = torch.randint(0, len(NAMES), (size,), generator=random)
    fillers = torch.randint(0, len(FILLERS), (distance, size), generator=random) + len(NAMES)
    question = torch.arange(len(WORDS) - len(QUESTION), len(WORDS))[:, None].expand(-1, size)
    return torch.cat([names[None], fillers, question]), names


def build(
    hidden: int, kind: str, nonlinearity: str = "tanh", start: str | None = None
) -> SequenceClassifier:
    """Word vectors, a cell, and a name at the end."""
    vectors = nn.Embedding(len(WORDS), 16)
    cell = Cell(kind, 16, hidden, nonlinearity=nonlinearity)
    net = SequenceClassifier(vectors, cell, len(NAMES))
    if start is not None:
        initialise(cell.state_weight, start)
    return net


def run(setup: Setup) -> Results:
    """Train every cell on all distances at once; right names and gradients by distance."""
    settings = SETTINGS[setup.size]
    seeds = range(setup.seed, setup.seed + settings.seeds)
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, cell in CELLS.items():
        rows[name] = [_train(cell, seed, settings) for seed in seeds]
        right = _mean(rows[name], "right").items()
        setup.report(f"{name}: " + ", ".join(f"{k} words {100 * r:.0f} %" for k, r in right))
    return {
        "table": {name: _cells(row) for name, row in rows.items()},
        "settings": asdict(settings),
        "rows": rows,
    }


def draw(results: Results) -> dict[str, str]:
    """Right names and the gradient that reaches the name, by the words between."""
    looks = numbered([*results["rows"]])

    def lines(key: str, scale: float) -> list[Line]:
        found = []
        for number, (name, rows) in enumerate(results["rows"].items()):
            means = {int(k): scale * mean for k, mean in _mean(rows, key).items()}
            xs, ys = [*means], [*means.values()]
            found.append(Line(name, xs, ys, *looks[name], marker=number % len(MARKERS)))
        return found

    right = lines("right", 100)
    reaching = lines("gradient", 1)
    lowest = min(value for line in right for value in line.y)
    limits = (max(10 * math.floor(lowest / 10) - 10, 0), 101)
    x = Axis("words between the name and the question", log=True)
    share = Maths("|∂*E*/∂*h*| at the name, as a share of that at the end, before training")
    note = "A line ends where the share is 0 in numbers of 32 bits."
    last = results["settings"]["distances"][-1]
    return {
        "": line_chart(
            [Panel(right, x, Axis("right names, % (by chance 12.5 %)", limits=limits), height=230)],
            f"Right names by the words between, after training on up to {last}",
        ),
        "gradients": line_chart(
            [Panel(reaching, x, Axis(share, log=True, decades=40), height=230, note=note)],
            "The gradient that reaches the name",
        ),
    }  # fmt: skip


def _train(cell: dict[str, Any], seed: int, settings: Settings) -> dict[str, Any]:
    """One net; what it gets right, and the share of the error that reaches the name."""
    torch.manual_seed(seed)
    given = dict(cell)
    rate = settings.rate / given.pop("slower", 1.0)
    net = build(settings.hidden, **given)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    random = torch.Generator().manual_seed(1000 + seed)
    # Before training: later, a net that answers well has little error left to send anywhere.
    gradient = {k: _reach(net, k, random) for k in settings.tested}
    for _ in range(settings.updates):
        x, names = sentences(_distance(settings, random), settings.batch, random)
        net.train_on(x, names, optimiser)
    right = {}
    for k in settings.tested:
        wrong = net.wrong(*sentences(k, settings.fresh, random))
        right[k] = 1 - wrong / settings.fresh
    return {
        "seed": seed, "right": right, "gradient": gradient,
        "gradient_after": {k: _reach(net, k, random) for k in settings.tested},
    }  # fmt: skip


def _distance(settings: Settings, random: torch.Generator) -> int:
    """One to train at: some number above one of the listed distances, up to the next."""
    which = int(torch.randint(0, len(settings.distances), (), generator=random))
    low = settings.distances[which - 1] + 1 if which else settings.distances[0]
    high = settings.distances[which]
    return int(torch.randint(low, high + 1, (), generator=random))


def _reach(net: SequenceClassifier, distance: int, random: torch.Generator) -> float:
    """|dE/dstate at the name| over |dE/dh at the end|, mean over sentences."""
    x, names = sentences(distance, 32, random)
    vectors = net.encode(x)
    _, state = net.cell.run_unrolled(vectors[:1], net.begin(vectors))
    states, _ = net.cell.run_unrolled(vectors[1:], state)
    loss = nn.functional.cross_entropy(net.output(states[-1]), names, reduction="sum")
    # An LSTM keeps the name in its cell state too: the error of both its tensors counts.
    at_name = torch.autograd.grad(loss, state, retain_graph=True)
    (at_end,) = torch.autograd.grad(loss, states)
    norm = torch.cat(at_name, 1).norm(dim=1)
    return float((norm / at_end[-1].norm(dim=1).clamp(min=1e-30)).mean())


def _mean(rows: list[dict[str, Any]], key: str) -> dict[Any, float]:
    return {k: sum(row[key][k] for row in rows) / len(rows) for k in rows[0][key]}


def _cells(rows: list[dict[str, Any]]) -> dict[str, float]:
    right, gradient = _mean(rows, "right"), _mean(rows, "gradient")
    bridged = [k for k, share in right.items() if share >= RIGHT]
    # The farthest distance up to which all are bridged.
    solid = [k for k in bridged if all(right[j] >= RIGHT for j in right if j <= k)]
    last = max(right)
    shown = (*_SHOWN, last)
    return {
        "right from so many words": float(max(solid, default=0)),
        **{f"right after {k}, %": 100 * share for k, share in right.items() if k in shown},
        f"log10 of the gradient's share after {last}": math.log10(max(gradient[last], 1e-38)),
    }
