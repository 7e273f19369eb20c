"""The entry point of the image: process 1 of a container, and the program below it."""

from __future__ import annotations

import os
import sys
from functools import partial

from esteira.container.init import run_below


def _become(arguments: list[str]) -> int:
    """Replaces this process with the program of its role; returns an exit status if that fails."""
    from esteira.container.roles import command  # noqa: PLC0415  process 1 itself needs no settings in its memory
    from pipeline.errors import SettingsError  # noqa: PLC0415

    try:
        program = command(arguments)
        os.execv(program[0], program)  # noqa: S606
    except SettingsError as error:
        print(f"esteira: {error.message}", file=sys.stderr)  # noqa: T201
    except OSError as error:
        print(f"esteira: cannot run {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(run_below(partial(_become, sys.argv[1:])))
