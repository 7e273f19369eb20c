"""A real clamd with its own signatures, and a fake one with fixed answers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from actors.doctor.antivirus import EICAR
from tests.support.valkey import free_port

SIGNATURE = "Esteira.Test.Eicar"  # clamd adds that it is not one of ClamAV's own: .UNOFFICIAL
START_S = 30
CONFIG = """LocalSocket {folder}/clamd.ctl
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}
LogFile {folder}/clamd.log
Foreground yes
SelfCheck 0
"""

__all__ = ["EICAR", "SIGNATURE", "FakeClamd", "RealClamd", "fake_clamd", "find_clamd", "real_clamd"]


class RealClamd:
    """A clamd in a folder of its own. Its one signature is the EICAR test file, at any position in a file."""

    def __init__(self, folder: Path, program: str, lines: tuple[str, ...]) -> None:
        self.port = free_port()
        self.unix = f"unix://{folder}/clamd.ctl"
        self.tcp = f"tcp://127.0.0.1:{self.port}"
        self._folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "signatures").mkdir()
        (folder / "signatures" / "tests.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
        config = CONFIG.format(folder=folder, port=self.port) + "".join(f"{line}\n" for line in lines)
        (folder / "clamd.conf").write_text(config)

    def start(self) -> None:
        command = [self._program, "-c", str(self._folder / "clamd.conf")]
        with (self._folder / "out.log").open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "out.log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            (self._folder / "clamd.ctl").unlink(missing_ok=True)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self._folder / "clamd.ctl"))
            return True
        return False


def find_clamd() -> str | None:
    """The program, if this machine has it."""
    return shutil.which("clamd") or shutil.which("clamd", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def real_clamd(program: str, *lines: str) -> Iterator[RealClamd]:
    """One for the length of the block, not started yet; `lines` are added to its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="clamd-"))
    server = RealClamd(folder, program, lines)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class FakeClamd:
    """Answers a stream with `verdict`, and PING with PONG unless `hangs` is set.

    `reads` is after how many chunks it answers without reading on, None: when it has read all of them.
    """

    address: str
    verdict: bytes | None = b"stream: OK\0"  # None: it says nothing, and keeps the connection
    version: bytes = b"ClamAV 1.4.6\0"
    pongs: bool = True
    reads: int | None = None
    received: list[bytes] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        self._open.append(connection)
        with connection.makefile("rb") as told, contextlib.suppress(OSError):
            question = b""
            while not question.endswith(b"\0"):
                question += told.read(1)
            answer = self._answer(question, told.read)
            if answer is None:
                return
            connection.sendall(answer)
        connection.close()

    def _answer(self, question: bytes, read: Callable[[int], bytes]) -> bytes | None:
        if question == b"zPING\0":
            return b"PONG\0" if self.pongs else None
        if question == b"zVERSION\0":
            return self.version
        self.received = []
        while self.reads is None or len(self.received) < self.reads:
            size = int.from_bytes(read(4), "big")
            if not size:
                break
            self.received.append(read(size))
        return self.verdict

    def close(self) -> None:
        for connection in self._open:
            connection.close()


@contextlib.contextmanager
def fake_clamd() -> Iterator[FakeClamd]:
    """A fake clamd on a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="clamd-"))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "clamd.ctl"))
    listening.listen(16)
    made = FakeClamd(f"unix://{folder}/clamd.ctl")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=made.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield made
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
