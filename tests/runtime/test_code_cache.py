"""The cache of compiled kernels: which folders are trusted, and when code is valid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import UnrolledWarning
from unrolled.runtime import code_cache

MODULE = "unrolled.text.utf8_kernels"
NOT_ROOTS = 12345  # a user who is neither root nor whoever runs the tests
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What a process remembers of folders and files is forgotten before and after each test."""
    remembered = (
        code_cache._trusted_folders,
        code_cache._warn_of_no_folder,
        code_cache._checksum,
        code_cache._is_of_one_user,
        code_cache._remove_unfinished,
        code_cache._versions,
    )
    for memory in remembered:
        memory.cache_clear()
    yield
    for memory in remembered:
        memory.cache_clear()


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    return folder


def write(key: str = "k") -> None:
    code_cache.write("f", key, {"a": 1}, b"code\n", MODULE)


def read(key: str = "k") -> Any:
    found = code_cache.read("f", key)
    return found and (found[0]["a"], found[1])


def test_code_comes_back_for_its_key_only(named: Path) -> None:
    write()
    assert read() == (1, b"code\n")
    assert read("other") is None
    (path,) = (named / "unrolled").iterdir()
    path.rename(code_cache._path(named / "unrolled", "f", "other"))
    assert read("other") is None  # the whole key is compared, not only the name's checksum


def test_what_a_killed_process_left_is_removed(named: Path) -> None:
    folder = named / "unrolled"
    folder.mkdir(mode=0o755)
    left, under_way = folder / "f-00.123", folder / "f-00.124"
    for path in (left, under_way):
        path.write_bytes(b"")
    os.utime(left, (1, 1))
    write()
    assert read() == (1, b"code\n")
    assert not left.exists()
    assert under_way.exists()


def test_a_change_of_a_source_makes_code_invalid(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    changed = "runtime/intrinsics.py"
    sources = code_cache._sources(MODULE)
    assert {"text/utf8_kernels.py", "runtime/kernels.py", changed} <= sources
    checksum = code_cache._checksum
    with monkeypatch.context() as patched:
        patched.setattr(
            code_cache, "_checksum", lambda name: 0 if name == changed else checksum(name)
        )
        assert read() is None
        write()
        assert read() is not None
    assert read() is None


def test_a_process_that_outlives_a_change_neither_writes_nor_loads(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.setattr(code_cache, "_started", 0)  # all files have changed since
    code_cache._checksum.cache_clear()
    assert read() is None
    write("other")
    assert len(list((named / "unrolled").iterdir())) == 1


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(named: Path, mode: int) -> None:
    write()
    assert read()
    (named / "unrolled").chmod(mode)
    code_cache._trusted_folders.cache_clear()
    with pytest.warns(UnrolledWarning, match="set NUMBA_CACHE_DIR to a folder of your own"):
        assert read() is None
    assert code_cache.folder() != named / "unrolled"


def test_a_folder_above_may_be_written_to_by_others_only_if_it_is_sticky(named: Path) -> None:
    write()
    named.chmod(0o1777)
    code_cache._trusted_folders.cache_clear()
    assert read()
    named.chmod(0o777)
    code_cache._trusted_folders.cache_clear()
    with pytest.warns(UnrolledWarning):
        assert read() is None


def test_a_file_that_others_can_write_to_is_not_loaded(named: Path) -> None:
    write()
    (path,) = (named / "unrolled").iterdir()
    path.chmod(0o666)
    assert read() is None
    path.chmod(0o644)
    assert read()


@as_root
@pytest.mark.parametrize("what", ["file", "folder", "above"])
def test_what_belongs_to_another_user_is_not_loaded(named: Path, what: str) -> None:
    write()
    (path,) = (named / "unrolled").iterdir()
    os.chown({"file": path, "folder": path.parent, "above": named}[what], NOT_ROOTS, -1)
    code_cache._trusted_folders.cache_clear()
    if what == "file":
        assert read() is None
    else:
        with pytest.warns(UnrolledWarning):
            assert read() is None


@as_root
def test_a_group_may_write_only_if_it_is_the_users_alone(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    (named / "unrolled").chmod(0o775)
    code_cache._trusted_folders.cache_clear()
    assert read()  # root's group is root's alone
    os.chown(named / "unrolled", -1, NOT_ROOTS)
    code_cache._trusted_folders.cache_clear()
    with pytest.warns(UnrolledWarning):
        assert read() is None


def test_what_numba_compiles_is_kept_in_the_same_folder(named: Path) -> None:
    """Its own cache would unpickle, and so run, what another user put where it looks."""
    from unrolled.rescoring.edit_distance_kernels import count_errors

    assert count_errors._cache.cache_path == str(named / "unrolled")


def test_without_a_folder_a_warning_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    monkeypatch.setattr(code_cache, "PACKAGE", tmp_path / "file")
    monkeypatch.setattr(code_cache, "_checksums", lambda names: {"a.py": 1})
    assert code_cache.folder() is None
    with pytest.warns(UnrolledWarning, match="set NUMBA_CACHE_DIR to a folder that you") as given:
        write()
        write()
    assert len(given) == 1
    assert read() is None


def test_numbas_settings_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = code_cache.key_of("i8")
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert code_cache.key_of("i8") != plain
