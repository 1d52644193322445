"""Gzip in several members: every reader sees one file, and equal content makes equal files."""

from __future__ import annotations

import gzip
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from unrolled.storage.atomic import atomic_write
from unrolled.storage.gzip_members import MEMBER_BYTES, GzipMembers, member

CONTENT = random.Random(0).randbytes(1000) * (3 * MEMBER_BYTES // 1000)


@pytest.mark.parametrize("size", [0, 1, MEMBER_BYTES - 1, MEMBER_BYTES, len(CONTENT)])
def test_members_are_read_as_one_file_however_they_were_written(tmp_path: Path, size: int) -> None:
    content, files = CONTENT[:size], []
    for step in (777_777, 1 << 22):
        path = tmp_path / f"{step}.gz"
        with atomic_write(path) as file:
            for start in range(0, size, step):
                file.write(content[start : start + step])
        files.append(path.read_bytes())
        assert gzip.decompress(files[-1]) == content
    assert files[0] == files[1]
    assert files[0].count(member(b"")[:10]) >= max(-(-size // MEMBER_BYTES), 1)


def test_members_that_wait_for_threads_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.storage.gzip_members.usable_cores", lambda: 2)
    content = b"".join(bytes([number]) * MEMBER_BYTES for number in range(9))
    path = tmp_path / "text.gz"
    with atomic_write(path) as file:
        file.write(content)
    assert gzip.decompress(path.read_bytes()) == content


@pytest.mark.parametrize(("threads", "expected"), [(None, 3), (1, 1), (2, 2), (9, 3)])
def test_no_more_threads_compress_than_are_allowed(
    threads: int | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[threading.Thread] = set()

    def watched(content: bytes) -> bytes:
        used.add(threading.current_thread())
        time.sleep(0.01)  # until the next one has its thread
        return member(content)

    monkeypatch.setattr("unrolled.storage.gzip_members.usable_cores", lambda: 3)
    monkeypatch.setattr("unrolled.storage.gzip_members.member", watched)
    with atomic_write(tmp_path / "text.gz", threads=threads) as file:
        file.write(bytes(6 * MEMBER_BYTES))
    assert len(used - {threading.current_thread()}) == expected


def test_the_program_gzip_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    with atomic_write(path) as file:
        file.write(CONTENT)
    unpacked = subprocess.run(["gzip", "-dc", path], check=True, capture_output=True).stdout
    assert unpacked == CONTENT


def test_an_error_ends_the_threads_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(CONTENT)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_it_is_for_writing_only(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file, GzipMembers(file) as packed:
        assert packed.writable()
        assert not packed.readable()
