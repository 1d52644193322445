"""What was tried, and what failed."""

from __future__ import annotations

from collections import Counter


class Figures:
    """Counts of cases by what they try, and the failures in words."""

    def __init__(self, verbose: bool = False) -> None:
        self.tried: Counter[str] = Counter()
        self.failures: list[str] = []
        self._failed: Counter[str] = Counter()
        self._verbose = verbose

    def count(self, what: str, case: str, problem: str | None) -> None:
        """One more case, and what was wrong if it failed."""
        self.tried[what] += 1
        if problem is not None:
            self._failed[what] += 1
            self.failures.append(ascii(f"{what}: {case}: {problem}"))
            if self._verbose:
                print(self.failures[-1], flush=True)

    def table(self) -> str:
        """A line for each kind of case: how many were tried, how many failed."""
        lines = [f"{'tried':>8} {'failed':>8}  what"]
        for what, tried in self.tried.items():
            lines.append(f"{tried:8,} {self._failed[what]:8,}  {what}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """The same for a file."""
        tried = {what: [count, self._failed[what]] for what, count in self.tried.items()}
        return {"tried, failed": tried, "failures": self.failures}
