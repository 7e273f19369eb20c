"""The Valkey or Redis that `esteira start` runs if none is configured: on a unix socket, with append-only file."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

import redis

from actors.middleware.parent_death import end_with_parent
from actors.redis_queue.server_program import ServerProgram, choose_server, data_folder, record_writer
from esteira.cli.environment import make_folder
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, SettingsError
from pipeline.security.folder_faults import write_fault

MAX_SOCKET_PATH = 107  # bytes; sun_path holds 108 including the terminating zero (unix(7))
START_S = 15.0  # a large append-only file is read before the first answer; later the start counts as failed
STOP_S = 30.0  # after SIGTERM; a server that takes longer is killed


@contextmanager
def lock_folder(folder: Path) -> Iterator[TextIO]:
    """Locks the folder for this process and those that inherit the lock: two starts would overwrite each other's data.

    Raises:
        PermanentError: `queue`, if another process holds the lock, or a part that outlived its `esteira start`.
        SettingsError: the folder is not writable.
    """
    make_folder(folder)
    with _lock_file(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            message = f"{folder} is in use by another `esteira start` (process {holder}) or by a process that it left"
            raise PermanentError(Code.QUEUE, f"{message}; stop it, or set another VAR_DIR") from None
        try:
            lock.truncate(0)
            os.write(lock.fileno(), f"{os.getpid()}\n".encode())  # a buffer would be written again when it is closed
        except OSError as error:
            raise SettingsError(f"VAR_DIR: {write_fault(folder, error)}") from None
        yield lock


def _lock_file(folder: Path) -> TextIO:
    try:
        return (folder / "start.lock").open("a+")
    except OSError as error:
        raise SettingsError(f"VAR_DIR: {write_fault(folder, error)}") from None


@contextmanager
def embedded_valkey(settings: Settings, program: ServerProgram | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs Valkey for the length of the block; it answers when the block begins. Default: the program of VALKEY_SERVER.

    Raises:
        SettingsError: the path of the socket is too long for the system.
        PermanentError: `queue`, if Valkey does not start.
    """
    program = program or choose_server(settings).program
    process = launch_valkey(settings, program)
    try:
        wait_until_ready(settings, program, process)
        yield process
    finally:
        _stop(process)


def launch_valkey(settings: Settings, program: ServerProgram, lock: TextIO | None = None) -> subprocess.Popen[bytes]:
    """Starts Valkey, which keeps the lock on its folder as long as it lives.

    Must be called in the main thread: Valkey ends when the calling thread ends.

    Raises:
        SettingsError: the path of the socket is too long for the system, or its folder cannot be made.
    """
    socket = settings.embedded_socket
    _check_length(socket)
    folder = data_folder(settings)
    make_folder(folder)
    with (folder / "valkey.log").open("ab") as log:
        # In a session of its own: Ctrl-C must not stop it before the parts that use it have ended.
        return subprocess.Popen(  # noqa: S603
            _command(program, socket, folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock.fileno(),) if lock else (),
            # If this process is killed, Valkey would go on, and the next start would run a second one on the same data.
            # Other threads of this process, if there are any, only copy lines: they hold no lock that this call needs.
            preexec_fn=end_with_parent,  # noqa: PLW1509
        )


def wait_until_ready(settings: Settings, program: ServerProgram, process: subprocess.Popen[bytes]) -> None:
    """Waits until Valkey answers, and records which program has written the data.

    Raises:
        PermanentError: `queue`, if it ends or does not answer within START_S.
    """
    folder = data_folder(settings)
    deadline = time.monotonic() + START_S
    while not _answers(settings.embedded_socket):
        if process.poll() is not None or time.monotonic() > deadline:
            raise PermanentError(Code.QUEUE, f"the embedded Valkey did not start; see {folder / 'valkey.log'}")
        time.sleep(0.02)
    record_writer(program, folder)


def _command(program: ServerProgram, socket: Path, folder: Path) -> list[str]:
    # Valkey's defaults lose the queue on a restart, which the append-only file prevents, and eviction would drop jobs.
    return [
        program.path,
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"),
    ]


def _check_length(socket: Path) -> None:
    length = len(os.fsencode(socket))
    if length > MAX_SOCKET_PATH:
        message = f"the socket {socket} has a path of {length} bytes, and the system allows {MAX_SOCKET_PATH}"
        raise SettingsError(f"VAR_DIR: {message}: choose a shorter VAR_DIR, or set REDIS_URL")


def _answers(socket: Path) -> bool:
    with closing(redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:  # also while Valkey reads its append-only file
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
