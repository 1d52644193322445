"""Fuzz the reading of ARPA files: broken ones must end in a FormatError, and in nothing else.

    python tests/fuzz/fuzz_arpa.py --seconds 60 --seed 1 [--model FILE.arpa ...]

Each round breaks a good file (a tiny one made here, or one of ``--model``) in one to four random
places. What is read nevertheless must answer questions with numbers, and survive being written and
read again; only that its numbers make some probability larger than 1 may be said later. A file that
raises anything else, or hangs, is kept in ``--keep`` and named, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.mutations import mutate
from fuzz.watchdog import time_limit
from unrolled.errors import FormatError
from unrolled.ngram.arpa.files import read_arpa, write_arpa

ROUND_SECONDS = 20.0
SMALL = b"""\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-1.2041\t<unk>\t0
-99\t<s>\t-0.30103
-0.7\t</s>\t0
-0.8\tthe\t-0.2
-0.9\tcat\t-0.1
-1.1e0\tis-a-long-word\t-0.05

\\2-grams:
-0.3\t<s> the\t-0.01
-0.4\tthe cat\t-0.02
-0.5\tcat </s>\t0
-0.6\tcat is-a-long-word\t0

\\3-grams:
-0.25\t<s> the cat
-0.35\tthe cat </s>

\\end\\
"""


def attempt(path: Path) -> str:
    """Read a broken file and ask what it holds; what came of it, for the summary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = read_arpa(path)
        except FormatError as error:
            if "\n" in str(error) or str(path) not in str(error):
                raise AssertionError(f"no path or two lines in the message: {error}") from error
            return "refused"
    scores: list[float] = []
    for text in ("the cat is small", "", "<s> is-a-long-word cat </s>"):
        with contextlib.suppress(FormatError):  # a number that no model can give
            scores.append(model.score(text))
    with contextlib.suppress(FormatError):  # the numbers of a line may not fit those of another
        scores += model.next_log_probs(model.advance(model.start(), 3)).tolist()
    if np.isnan(scores).any():
        raise AssertionError("a score is not a number")
    written = path.with_name("written.arpa")
    write_arpa(model, written)
    again = read_arpa(written)
    # Log zero is written as -99 and read as that number, so it alone may differ.
    same = model.trie.log_probs == again.trie.log_probs
    if again.vocabulary != model.vocabulary or not np.all(same | np.isinf(model.trie.log_probs)):
        raise AssertionError("the model changes when it is written and read again")
    return "read"


def fuzz(seconds: float, seed: int, models: list[Path], keep: Path) -> dict[str, int]:
    """Break files for some seconds; raises what the first failing file raised."""
    outcomes = {"refused": 0, "read": 0}
    rng = random.Random(seed)
    good = [path.read_bytes() for path in models] or [SMALL]
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "broken.arpa"
        while time.monotonic() < deadline:
            path.write_bytes(data := mutate(rng.choice(good), rng))
            try:
                with time_limit(ROUND_SECONDS):
                    outcomes[attempt(path)] += 1
            except BaseException:
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"arpa-{zlib.crc32(data):08x}.arpa"
                kept.write_bytes(data)
                print(f"seed {seed}: this file fails and was kept: {kept}", file=sys.stderr)
                raise
    return outcomes


def main() -> None:
    """Read the options and fuzz."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    faulthandler.enable()
    outcomes = fuzz(options.seconds, options.seed, options.model, options.keep)
    print(", ".join(f"{count} files {outcome}" for outcome, count in outcomes.items()))


if __name__ == "__main__":
    main()
