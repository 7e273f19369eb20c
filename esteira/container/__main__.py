"""The entry point of the image: process 1 of a container, and the program below it."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

from esteira.container.init import run_below
from esteira.container.memory import shortage

KILLED = 128 + signal.SIGKILL


def _become(arguments: list[str]) -> int:
    """Replaces this process with the program of its role; returns an exit status if that fails."""
    from esteira.container.roles import command  # noqa: PLC0415  process 1 itself needs no settings in its memory
    from pipeline.errors import SettingsError  # noqa: PLC0415

    try:
        program = command(arguments)
        os.execv(program[0], program)  # noqa: S606
    except SettingsError as error:
        return _refusal(error.message)
    except OSError as error:
        return _refusal(f"cannot run {program[0]}: {error.strerror}")


def _refusal(message: str) -> int:
    print(f"esteira: {message}", file=sys.stderr)  # noqa: T201
    return 2


def main(arguments: list[str]) -> int:
    """Runs the program of these arguments to its end; returns its exit status."""
    if short := shortage(arguments):
        return _refusal(short)
    status = run_below(partial(_become, arguments))
    if status == KILLED:
        _refusal("was killed by SIGKILL, by the kernel if memory was short: look at the container's memory limit")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
