"""Runs `esteira` commands in forks of a process that has already imported them, which saves a second per command.

Each command still has a process, an environment and streams of its own. `python -m tests.support.cli_forkserver` is the
server: it reads one JSON request per line from stdin and writes one exit status per line to stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from esteira.cli.app import main
from esteira.cli.commands import COMMANDS, load_command
from tests.support.terminals import Terminal

ROOT = Path(__file__).parent.parent.parent


class CliForkserver:
    """The client of a fork server. It runs one command at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: str,
        timeout: float,
        terminal: Terminal | None = None,
    ) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of `esteira` with these arguments. With `terminal`, stdout goes there."""
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
            streams[0].write_text(stdin)
            if terminal:
                streams[1] = Path(terminal.path)
            request = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "timeout": timeout}
            code = self._send({**request, "streams": list(map(str, streams))})
            assert code != -signal.SIGALRM, f"esteira {' '.join(arguments)} took more than {timeout} s"
            return code, terminal.close() if terminal else streams[1].read_text(), streams[2].read_text()

    def _send(self, request: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def every_command() -> list[click.Command]:
    """All commands, imported."""
    return [load_command(name) for name in COMMANDS]


@contextlib.contextmanager
def cli_forkserver() -> Iterator[CliForkserver]:
    """Runs a fork server for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.cli_forkserver"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield CliForkserver(process)
    finally:
        process.kill()
        process.wait()


def serve() -> None:
    """Forks for each request until stdin ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run_command(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _run_command(request: dict[str, Any]) -> NoReturn:
    signal.alarm(int(request["timeout"]) + 1)
    for number, path in enumerate(request["streams"]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.stdin = os.fdopen(0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["esteira", *request["arguments"]]
    code = 1
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    every_command()  # imports them
    serve()
