"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unrolled.errors import SettingError, UnrolledError
from unrolled.storage import atomic
from unrolled.storage.atomic import atomic_write, check_target

OLD, NEW = b"old content", b"new content"
has_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="only Linux has a device that is always full"
)
is_root = os.geteuid() == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the operating system itself refuse to write more than `size` bytes to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("sync", [False, True])
def test_the_file_appears_at_the_end(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "file"
    with atomic_write(path, sync=sync) as file:
        file.write(NEW)
        assert not path.exists()
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_an_exception_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(OLD)
    with pytest.raises(error), atomic_write(path) as file:
        file.write(NEW * 1_000_000)
        raise error
    assert path.read_bytes() == OLD
    assert names(tmp_path) == [name]


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import signal, sys\nfrom unrolled.storage.atomic import atomic_write\n"
        # It is ignored where the tests themselves were started in the background.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    while True:\n        file.write(bytes(1 << 20)); file.seek(0)\n"
        "        print('writing', flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(atomic.__file__).parents[2])},
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert [name.startswith(".unrolled-") for name in names(tmp_path)] == [True]
    child.send_signal(signal.SIGINT)
    _, complaint = child.communicate(timeout=20)
    assert b"KeyboardInterrupt" in complaint
    assert names(tmp_path) == []


def test_compression_by_name_or_wish(tmp_path: Path) -> None:
    line = b"-1.5\tthe cat\n"
    for name, wish, packed in [("a.gz", None, True), ("b.gz", False, False), ("c", True, True)]:
        with atomic_write(tmp_path / name, compress=wish) as file:
            for _ in range(1000):
                file.write(line)
        content = (tmp_path / name).read_bytes()
        assert (gzip.decompress(content) if packed else content) == line * 1000
        assert content.startswith(b"\x1f\x8b") == packed
    assert names(tmp_path) == ["a.gz", "b.gz", "c"]


def test_equal_content_makes_equal_gzip_files(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        with atomic_write(tmp_path / name) as file:
            file.write(NEW)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_permissions_follow_the_umask_or_the_old_file(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(OLD)
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for path in (new, old):
            with atomic_write(path) as file:
                file.write(NEW)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, old)] == [0o640, 0o640]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link, real = tmp_path / "link", tmp_path / "far" / "real"
    link.symlink_to(real)  # it leads nowhere yet
    for content in (NEW, OLD):
        with atomic_write(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert real.read_bytes() == content
    assert names(tmp_path / "far") == ["real"]


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    with atomic_write(path) as file:
        file.write(NEW)
    assert path.read_bytes() == NEW


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    with atomic_write(path) as file:
        assert not file.seekable()
        file.write(NEW)
    reader.join(10)
    assert got == [NEW]
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("", "'' is not a file name. Give the file to write a name."),
        ("a\0b", r"'a\\x00b' is not a file name"),
        ("{}", "^{}: is a folder. Name the file to write in it.$"),
        ("{}/new/", "^{}/new/: is a folder"),
        ("{}/missing/file", "^{}/missing/file: the folder {}/missing does not exist. Make it"),
        ("{}/file/file", "^{}/file/file: cannot be written: not a directory"),
        ("{}/" + "x" * 256, "cannot be written: file name too long"),
        ("{}/loop", "cannot be written: too many levels of symbolic links"),
    ],
)
def test_bad_targets_are_refused_first(tmp_path: Path, path: str, sentence: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SettingError, match=sentence.replace("{}", str(tmp_path))):
        check_target(path.format(tmp_path))
    with pytest.raises(SettingError), atomic_write(path.format(tmp_path)):
        pytest.fail("the block must not begin")
    assert names(tmp_path) == ["file", "loop"]


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_what_may_not_be_written(
    tmp_path: Path, locked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    place = path if locked == "file" else tmp_path
    real_access = os.access
    if is_root:  # root may write anything
        monkeypatch.setattr(
            os, "access", lambda p, mode: str(p) != str(place) and real_access(p, mode)
        )
    else:
        place.chmod(0o555)
    message = f"{path}: {place} may not be written by this user"
    with pytest.raises(SettingError, match=message), atomic_write(path):
        pytest.fail("the block must not begin")
    place.chmod(0o755)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("name", ["file", "file.gz"])
@pytest.mark.parametrize("caught", [False, True])
def test_a_file_that_cannot_grow(tmp_path: Path, name: str, caught: bool) -> None:
    path = tmp_path / name
    path.write_bytes(OLD)
    noise = os.urandom(3 << 20)

    def write() -> None:
        with atomic_write(path) as file:
            try:
                for _ in range(3):
                    file.write(noise)
                    file.flush()
            except UnrolledError:
                if not caught:
                    raise

    with largest_file(1 << 20), pytest.raises(UnrolledError, match=f"{path}: cannot be written: "):
        write()
    assert path.read_bytes() == OLD
    assert names(tmp_path) == [name]


@has_full_device
@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_a_disk_that_fills_up_at_the_very_end(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(OLD)

    def full(temporary: Path, mode: str, shown: str, size: int | None) -> io.FileIO:
        temporary.touch()
        return atomic.OutputFile(Path("/dev/full"), "w", shown, size)

    monkeypatch.setattr(atomic, "_open", full)
    sentence = (
        rf"^{path}: the disk is full: 1,234 bytes are needed and [\d,]+ are free in {tmp_path}. "
        "Free some space or write to another disk.$"
    )
    with pytest.raises(UnrolledError, match=sentence), atomic_write(path, size=1234) as file:
        file.write(NEW)  # stays in the buffer until the end
    assert path.read_bytes() == OLD
    assert names(tmp_path) == [name]


@has_full_device
@pytest.mark.parametrize("compress", [False, True])
def test_the_full_device(compress: bool) -> None:
    with (
        pytest.raises(UnrolledError, match=r"^/dev/full: the disk is full: more bytes are needed"),
        atomic_write("/dev/full", compress=compress) as file,
    ):
        file.write(NEW)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_closed_pipe_stays_a_broken_pipe() -> None:
    # The command line ends quietly on it, as every tool does before `| head`.
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError), atomic_write(f"/dev/fd/{writing}") as file:
            file.write(NEW)
    finally:
        os.close(writing)


def test_the_blocks_own_errors_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file"):
        (tmp_path / "missing corpus").read_bytes()
    assert names(tmp_path) == []


def test_a_target_that_became_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with (
        pytest.raises(UnrolledError, match=f"{path}: cannot be replaced: "),
        atomic_write(path) as file,
    ):
        file.write(NEW)
        path.mkdir()
    assert names(tmp_path) == ["file"]


def _killed_while_writing(folder: Path) -> None:
    code = (
        "import os, signal, sys; from unrolled.storage.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder / "file")])
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    _killed_while_writing(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_write(tmp_path / "other"):
        pass
    assert names(tmp_path) == ["file", "other"]


def test_what_another_writes_at_the_same_time_stays(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "one") as one:
        one.write(b"1")
        with atomic_write(tmp_path / "two") as two:
            two.write(b"2")
        code = (
            "import sys; from unrolled.storage.atomic import atomic_write\n"
            "with atomic_write(sys.argv[1]) as file: file.write(b'3')"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "three")], check=True)
    assert [(tmp_path / name).read_bytes() for name in ("one", "two", "three")] == [
        b"1", b"2", b"3",
    ]  # fmt: skip
    assert names(tmp_path) == ["one", "three", "two"]


def test_a_new_file_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    removed = []

    def flock(file: int, how: int) -> None:
        if not removed:
            removed.extend(path.unlink() for path in tmp_path.iterdir())
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"whole")
    assert removed
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    _killed_while_writing(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 2  # it cannot be known whether its process lives
