"""Items that are worked on side by side, within a size."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from unrolled.runtime.threads import run_within


@pytest.mark.parametrize("most", [1, 5, 100])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_never_more_is_under_way(most: int, threads: int) -> None:
    sizes = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    taken: list[int] = []
    lock = threading.Lock()

    def items() -> Iterator[int]:
        for number in range(len(sizes)):
            with lock:
                taken.append(number)
            yield number

    done = []
    for result in run_within(lambda number: number * 10, items(), sizes, most, threads):
        done.append(result)
        under_way = taken[len(done) - 1 :]
        assert len(under_way) <= threads + 2
        assert len(under_way[1:]) <= 1 or sum(sizes[number] for number in under_way[1:]) <= most
    assert done == [number * 10 for number in range(len(sizes))]


def test_an_error_of_a_task_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_within(lambda number: 1 // number, [1, 0, 1], [1, 1, 1], 10, 2))
