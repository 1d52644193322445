"""Try to break the commands, and print how often that was tried and how often it succeeded.

    python tests/torture/run.py --seed 1 --minutes 60 [--slow] [--keep FILE.json]
    python tests/torture/run.py --seed 1 --once arrays faults [--slow] [--keep FILE.json]

Hostile headers and damaged arrays of model files, a server under faults, forks, faults of the
system, signals, kills and little memory take turns until the time is over. With ``--once`` the
kinds named run once, however long it takes: 5,000 models with damaged arrays, every fault of every
command, 300 signals or more, 100 rounds of forks for each kind of model. The exit code is 1 if
anything broke a promise of SECURITY.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture.commands import QUICK, SLOW, write_inputs
from torture.damaged_arrays import try_damaged_arrays
from torture.faults import build_library, try_faults
from torture.figures import Figures
from torture.forks import try_forks
from torture.headers import try_headers
from torture.interruptions import try_interruptions, try_little_memory
from torture.serving import try_serving


def torture(figures: Figures, seed: int, minutes: float, slow: bool) -> None:
    """Rounds of all that there is to try, until the time is over."""
    rng = random.Random(seed)
    commands = QUICK | SLOW if slow else QUICK
    until = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs"
        inputs.mkdir()
        write_inputs(inputs, rng, slow=slow)
        library = build_library(Path(name))
        if library is None:
            print("there is no C compiler: faults of the system are not tried")
        while time.monotonic() < until:
            try_headers(figures, rng, 1000)
            try_damaged_arrays(figures, rng, 200, Path("torture-failures"))
            try_serving(figures, rng, 10)
            if slow:
                try_forks(figures, 2)
            for one in rng.sample(list(commands), len(commands)):
                if time.monotonic() > until:
                    break
                some = {one: commands[one]}
                try_interruptions(figures, rng, inputs, some, 2)
                try_little_memory(figures, rng, inputs, some, 2)
                if library is not None:
                    try_faults(figures, rng, inputs, library, some, most=10)


def once(figures: Figures, seed: int, kind: str, slow: bool) -> None:
    """One kind in full."""
    rng = random.Random(seed)
    commands = QUICK | SLOW if slow else QUICK
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs"
        inputs.mkdir()
        write_inputs(inputs, rng, slow=slow)
        match kind:
            case "arrays":
                try_damaged_arrays(figures, rng, 5000, Path("torture-failures"))
            case "forks":
                try_forks(figures, 100)
            case "signals":
                try_interruptions(figures, rng, inputs, commands, -(-300 // len(commands)))
            case "faults":
                library = build_library(Path(name))
                if library is None:
                    sys.exit("there is no C compiler: faults of the system cannot be tried")
                try_faults(figures, rng, inputs, library, commands)


def main() -> int:
    """Read the options, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument(
        "--once", nargs="+", choices=["arrays", "faults", "forks", "signals"], metavar="KIND",
        help="instead of turns, these kinds once and in full: arrays, faults, forks, signals",
    )  # fmt: skip
    parser.add_argument("--slow", action="store_true", help="train nets and taggers too")
    parser.add_argument("--keep", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    figures = Figures(verbose=True)
    for kind in options.once or ():
        once(figures, options.seed, kind, options.slow)
    if not options.once:
        torture(figures, options.seed, options.minutes, options.slow)
    print(figures.table())
    if options.keep:
        options.keep.write_text(json.dumps(figures.as_dict(), indent=1) + "\n")
    return 1 if figures.failures else 0


if __name__ == "__main__":
    sys.exit(main())
