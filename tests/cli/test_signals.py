"""Ctrl-C and SIGTERM end a command soon, whatever it is doing, and leave no temporary file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A command in place of all others, which the real `main` runs.
START = """
import os, signal, sys, time, types
from unrolled.storage.atomic import atomic_write

def signalled():
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(0.01)

def app():
    with atomic_write(sys.argv[1]) as file:
        file.write(b"half")
        command()

sys.modules["unrolled.cli.app"] = types.SimpleNamespace(app=app)
"""
COMMANDS = {
    "plain": """
def command():
    signalled()
    time.sleep(20)
""",
    "callback": """
import ctypes

def command():
    ctypes.CFUNCTYPE(None)(signalled)()
    time.sleep(20)
""",
    "destructor": """
class Noisy:
    def __del__(self):
        signalled()

def command():
    Noisy()
    time.sleep(20)
""",
    "before-it-runs": """
import threading

def start(thread, real=threading.Thread.start):
    real(thread)
    signalled()

threading.Thread.start = start

def command():
    time.sleep(20)
""",
    "as-it-ends": """
real = signal.set_wakeup_fd

def set_wakeup_fd(number, **settings):
    if number == -1:
        signalled()
    return real(number, **settings)

signal.set_wakeup_fd = set_wakeup_fd

def command():
    raise SystemExit
""",
    "everything-caught": """
def command():
    try:
        signalled()
    except BaseException:
        pass
    time.sleep(20)
""",
    "printed-by-a-library": """
def command():
    try:
        signalled()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    time.sleep(20)
""",
    "while-importing": """
class Finder:
    @staticmethod
    def find_spec(*_):
        try:
            signalled()
        except BaseException:
            os.abort()  # as libraries in C++ do

def command():
    sys.meta_path.insert(0, Finder)
    import nothing_of_that_name
""",
    "compiled-code": """
import hashlib

def command():
    signal.alarm(0)
    import threading
    threading.Timer(0.2, signalled).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
""",
    "slow-cleaning": """
def command():
    try:
        signalled()
    finally:
        time.sleep(20)
""",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_signal_ends_the_command(tmp_path: Path, command: str) -> None:
    number = signal.SIGINT if len(command) % 2 else signal.SIGTERM
    code = START + COMMANDS[command] + "\nfrom unrolled.cli import main\nmain()"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file"), str(int(number))],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr == "\nunrolled: stopped; nothing half-written is left\n"
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began < 5  # a second on a machine that does nothing else


def test_a_signal_for_a_forked_process_is_not_for_this_one(tmp_path: Path) -> None:
    command = """
def command():
    child = os.fork()
    if not child:
        signalled()
        time.sleep(20)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    time.sleep(1)
"""
    code = START + command + "\nfrom unrolled.cli import main\nmain()"
    target = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", code, str(target), str(int(signal.SIGTERM))],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_bytes() == b"half"


def test_ctrl_c_while_modules_are_loaded_is_not_dropped(tmp_path: Path) -> None:
    # Python raises KeyboardInterrupt in whatever runs, and drops it in a destructor.
    code = """
import os, signal, sys, time
from importlib.machinery import PathFinder
from unrolled.cli import main

class Noisy:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, *_):
        sys.meta_path.remove(cls)
        Noisy()

sys.meta_path.insert(0, Finder)
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "settings"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (-signal.SIGINT, ""), done.stderr
