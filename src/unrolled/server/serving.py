"""The processes of a server: sockets, signals, a graceful end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unrolled.errors import MissingExtraError, SettingError

try:
    import uvicorn
except ModuleNotFoundError:
    raise MissingExtraError("server", "uvicorn") from None

from unrolled.server.app import Application, read_token, with_cors
from unrolled.server.models import ServedModels, named_paths
from unrolled.server.protocol import protocol_class
from unrolled.server.settings import ServerSettings
from unrolled.settings import configure

log = logging.getLogger("unrolled.server")

_BACKLOG = 2048
# The thread that scores waits for the interpreter so long, as the one that reads is always busy.
_SWITCH_SECONDS = 0.001
_OTHER_FILES = 256  # that a process has open besides connections
_IDLE_SECONDS = 30  # that a connection without requests stays open


def serve(
    models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **settings: Any
) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C; requests that run are answered first.

    Args:
        models: files, or ``NAME=PATH``.
        **settings: of `ServerSettings`, such as host and port.

    Raises:
        SettingError: a setting that is not allowed, or an address that cannot be used.
        FormatError: a file that is no model.
    """
    (chosen,) = configure(settings, ServerSettings)
    given = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    paths = [os.fspath(one) for one in given]
    read_token(chosen)
    with _listening(chosen) as bound:
        if chosen.workers == 1:
            opened = ServedModels(paths)
            announce(bound, opened)
            _run(Application(opened, chosen), chosen, bound)
        else:
            named_paths(paths)
            _run_several(paths, chosen, bound)


@contextlib.contextmanager
def _listening(settings: ServerSettings) -> Iterator[socket.socket]:
    """A socket that is bound to the address.

    Raises:
        SettingError: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)  # from here on clients wait until it answers
    except OSError as error:
        raise SettingError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}",
            hint="Choose another --port, or 0 for a free one",
        ) from None
    bound.set_inheritable(True)
    with bound:
        yield bound


def announce(bound: socket.socket, models: ServedModels) -> None:
    """Say on standard error where the server is, once it answers."""
    host, port = bound.getsockname()[:2]
    names = ", ".join(served.name for served in models)
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {names} at http://{shown}:{port}/", file=sys.stderr, flush=True)


class _Server(uvicorn.Server):
    """Ends at SIGTERM or Ctrl-C with exit code 0, once running requests are answered."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _run(made: Application, settings: ServerSettings, bound: socket.socket) -> None:
    """Serve in this process."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        with_cors(made, settings),
        http=protocol_class(_open_files(settings.connections), settings.time_limit + 1),
        loop="uvloop" if _installed("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.grace)),
    )
    _Server(config).run(sockets=[bound])


def _open_files(connections: int) -> int:
    """Allow this process the files that so many connections need; how many it may have."""
    if sys.platform == "win32":
        return connections
    import resource

    # As many again may wait to be refused.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * connections + _OTHER_FILES
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, min(connections, (most - _OTHER_FILES) // 2))


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _run_several(paths: list[str], settings: ServerSettings, bound: socket.socket) -> None:
    """Serve in several processes that share the socket, the models' memory and the counters."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        metrics = os.path.join(folder, "metrics")  # noqa: PTH118 (a text for another process)

        def start(row: int) -> Any:
            process = context.Process(
                target=_work, args=(paths, settings, bound, metrics, row), daemon=False
            )
            process.start()
            return process

        _supervise(start, settings)


def _supervise(start: Callable[[int], Any], settings: ServerSettings) -> None:
    """Keep as many processes running as are wanted, until a signal; then end them."""
    from multiprocessing.connection import wait

    stopping = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopping.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    processes = [start(row) for row in range(settings.workers)]
    try:
        while not stopping.is_set():
            wait([process.sentinel for process in processes], timeout=0.2)
            for row, process in enumerate(processes):
                if process.is_alive() or stopping.is_set():
                    continue
                if process.exitcode == 2:
                    raise SettingError("a process of the server could not start")
                log.error("process %d ended with code %s", process.pid, process.exitcode)
                processes[row] = start(row)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(settings.grace + 5)
            if process.is_alive():
                process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(
    paths: list[str], settings: ServerSettings, bound: socket.socket, metrics: str, row: int
) -> None:
    """One of several processes."""
    from unrolled.errors import UnrolledError

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        opened = ServedModels(paths)
    except UnrolledError as error:
        print(f"unrolled: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if row == 0:
        announce(bound, opened)
    _run(Application(opened, settings, metrics, row), settings, bound)


def _end_with_parent() -> None:
    """End this process as SIGTERM does when the one that started it is killed."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
