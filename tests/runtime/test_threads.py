"""Work on threads: in order, stopped by the first error, and never far ahead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unrolled
from unrolled.runtime import threads
from unrolled.runtime.threads import (
    ForkSafeLock,
    even_slices,
    run_ahead,
    run_short_slices,
    run_slices,
    usable_cores,
)
from unrolled.runtime.torch_threads import one_thread, run_torch_slices, set_threads
from unrolled.runtime.torch_threads import threads as allowed_threads


@pytest.mark.parametrize("threads", [-1, 0, 1, 2, 7])
def test_results_come_in_order(threads: int) -> None:
    def late(number: int, pause: float) -> int:
        time.sleep(pause)
        return number

    work = [(number, 0.01 * (number % 3)) for number in (5, 4, 3, 2, 1, 0)]
    assert run_slices(late, iter(work), threads) == [5, 4, 3, 2, 1, 0]
    assert list(run_ahead(lambda pair: late(*pair), work, threads)) == [5, 4, 3, 2, 1, 0]
    assert run_slices(late, [], threads) == []
    assert list(run_ahead(late, [], threads)) == []


def test_slices_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)
    assert sorted(run_slices(both.wait, [(), ()], 2)) == [0, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_stops_what_has_not_begun(threads: int) -> None:
    begun = []

    def task(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("the first")
        time.sleep(0.02)

    with pytest.raises(ValueError, match="the first"):
        run_slices(task, [(number,) for number in range(200)], threads)
    assert len(begun) < 100
    begun.clear()
    with pytest.raises(ValueError, match="the first"):
        list(run_ahead(task, range(200), threads))
    assert len(begun) < 100


def test_only_a_few_items_are_read_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            yield number

    results = run_ahead(lambda number: number, items(), 2)
    for taken in range(50):
        assert next(results) == taken
        assert len(read) <= taken + 3
    results.close()


def test_an_iteration_that_is_given_up_ends_its_threads() -> None:
    before = threading.active_count()
    results = run_ahead(lambda number: number, iter(range(1000)), 3)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before


def test_an_error_of_the_source_is_passed_on() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(run_ahead(lambda number: number, items(), 2))


@given(st.integers(0, 10_000), st.integers(-1, 70), st.sampled_from([1, 4, 64]))
def test_even_slices_cover_a_range_once(size: int, pieces: int, multiple: int) -> None:
    slices = even_slices(size, pieces, multiple)
    assert [place for low, high in slices for place in range(low, high)] == list(range(size))
    assert len(slices) <= max(pieces, 1)
    assert all(low % multiple == 0 and low < high for low, high in slices)
    lengths = [high - low for low, high in slices[:-1]]
    assert len(set(lengths)) <= 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_short_slices_give_their_results_in_order(threads: int) -> None:
    for _ in range(2):
        assert run_short_slices(divmod, [(7, 2), (9, 4), (5, 5)], threads) == [
            (3, 1),
            (2, 1),
            (1, 0),
        ]
    assert run_short_slices(divmod, [], threads) == []


def test_short_slices_that_are_begun_are_done_when_one_fails() -> None:
    done: list[int] = []
    begun = threading.Barrier(3)

    def task(number: int) -> None:
        begun.wait(60)
        if number == 0:
            raise ValueError("the first")
        time.sleep(0.05)
        done.append(number)

    with pytest.raises(ValueError, match="the first"):
        run_short_slices(task, [(0,), (1,), (2,)], 3)
    assert sorted(done) == [1, 2]


def test_short_slices_that_wait_are_done_while_another_takes_long() -> None:
    """The first thread's slice ends after all others are done, by the caller."""
    others = threading.Semaphore(0)

    def task(number: int) -> int:
        if threading.current_thread() is threading.main_thread():
            others.release()
        else:
            for _ in range(3):
                assert others.acquire(timeout=60)
        return number

    assert run_short_slices(task, [(0,), (1,), (2,), (3,)], 2) == [0, 1, 2, 3]


def test_a_lock_is_free_in_a_forked_process() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    lock, held, done = ForkSafeLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, Python 3.12
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        with lock, lock:
            os._exit(0)
    done.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_torch_computes_with_one_thread_in_a_fork_unless_it_was_not_loaded() -> None:
    pytest.importorskip("torch")
    script = (
        "import os, sys; import unrolled.runtime.torch_threads as t; {load}\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    import torch; t.set_threads(2); os._exit(torch.get_num_threads())\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    for load, expected in (("import torch", 1), ("", 2)):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script.format(load=load)],
            capture_output=True, text=True, check=True, env=_environment(),
        )  # fmt: skip
        assert done.stdout == f"{expected}\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "10000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_of_openmp_wait_passively_unless_the_user_wants_otherwise(
    given: dict[str, str], expected: str
) -> None:
    script = (
        "import os, sys, unrolled; assert not {'torch', 'numpy'} & {*sys.modules};"
        "print(*map(os.environ.get, ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env=_environment(**given),
    )  # fmt: skip
    assert done.stdout == f"{expected}\n"


def _environment(**more: str) -> dict[str, str]:
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "PYTHONPATH": str(Path(unrolled.__file__).parent.parent), **more}


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ({"OMP_NUM_THREADS": "1"}, 2, 1),
        ({"OMP_NUM_THREADS": "1,4"}, 2, 1),
        ({"OMP_NUM_THREADS": "many"}, 1, 1),
        ({"OMP_NUM_THREADS": "64"}, 1000, usable_cores()),
        ({}, 1000, usable_cores()),
        ({}, 0, 1),
    ],
)
def test_torch_has_no_more_threads_than_it_may_use(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], wanted: int, expected: int
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = torch.get_num_threads()
    try:
        set_threads(wanted)
        assert torch.get_num_threads() == min(expected, 64)
    finally:
        torch.set_num_threads(before)


def test_torch_is_limited_to_one_thread_and_slices_are_not() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyError), one_thread():
            assert (torch.get_num_threads(), allowed_threads()) == (1, 2)
            with one_thread():
                assert (torch.get_num_threads(), allowed_threads()) == (1, 2)
            raise KeyError
        assert (torch.get_num_threads(), allowed_threads()) == (2, 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("mode", ["enable_grad", "no_grad", "inference_mode"])
def test_slices_record_gradients_as_their_caller_does(mode: str) -> None:
    torch = pytest.importorskip("torch")
    before, both = torch.get_num_threads(), threading.Barrier(2)

    def task(number: int) -> tuple[int, int, bool, bool]:
        both.wait(60)
        product = torch.ones(1, requires_grad=True) * number
        used = torch.get_num_threads(), allowed_threads()
        return number, *used, product.requires_grad, product.is_inference()

    try:
        torch.set_num_threads(2)
        with getattr(torch, mode)():
            found = run_torch_slices(task, [(0,), (1,)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    modes = (mode == "enable_grad", mode == "inference_mode")
    assert found == [(0, 1, 2, *modes), (1, 1, 1, *modes)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, []),
        ({"a/b/cpu.max": "max 100000\n"}, []),
        ({"a/b/cpu.max": "150000 100000\n"}, [2]),
        ({"a/b/cpu.max": "1000 100000\n", "a/cpu.max": "300000 100000\n"}, [1, 3]),
        ({"cpu.max": "200000 100000\n", "a/b/cpu.max": "no number\n"}, [2]),
    ],
)
def test_cores_that_control_groups_allow(
    tmp_path: Path, files: dict[str, str], expected: list[int]
) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "root"
    groups.write_text("12:cpu,cpuacct:/x\n0::/a/b\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert list(threads._quotas(groups, root)) == expected
    assert list(threads._quotas(tmp_path / "none", root)) == []


def test_a_short_slice_that_no_thread_begins_is_the_callers() -> None:
    released, callers = threading.Event(), []

    def task(number: int) -> int:
        callers.append(threading.current_thread())
        return number

    pool = threads._kept_pool(2, os.getpid())
    waiting = [pool.submit(released.wait, 60) for _ in range(2)]
    try:
        assert run_short_slices(task, [(1,), (2,), (3,)], 3) == [1, 2, 3]
        assert callers == [threading.current_thread()] * 3
    finally:
        released.set()
    assert all(future.result() for future in waiting)
