"""`esteira reload`: replaces web app and workers of the running `esteira start`."""

from __future__ import annotations

import socket
from contextlib import closing

import rich_click as click

from esteira.cli.environment import settings_for_command
from esteira.cli.errors import FAILED
from esteira.cli.output import examples, exit_with, print_message, printable
from esteira.cli.supervisor.requests import DONE, PROGRESS, RELOAD, connect
from esteira.cli.supervisor.requests import FAILED as FAILED_LINE


@click.command(
    epilog=examples(
        "esteira reload",
        "pip install --upgrade '.[all]' && esteira reload",
    )
)
def reload() -> None:
    """Replaces web app and workers of the running `esteira start` without refusing a hook.

    New processes read the settings and the code of now, after the database tables are updated. If the settings are
    wrong or the new web app does not get ready, the old one goes on, and the exit status is 1. Valkey, PORT, WEB_HOST,
    LOG_FORMAT and the code of `esteira start` itself stay as they are until the next start.
    """
    folder = settings_for_command().var_dir.absolute()
    try:
        connection = connect(folder)
    except PermissionError:
        print_message(f"esteira: VAR_DIR {printable(folder)} is of another user: reload as the user of `esteira start`")
        exit_with(FAILED)
    except OSError:
        where = f"with VAR_DIR {printable(folder)}"
        print_message(f"esteira: no `esteira start` runs {where}: call this in its folder, or set VAR_DIR")
        exit_with(FAILED)
    with closing(connection):
        _follow(connection)


def _follow(connection: socket.socket) -> None:
    """Prints the answer, line by line, and ends the command with its status."""
    line = ""
    try:
        connection.sendall(RELOAD)
        for line in connection.makefile(encoding="utf-8", errors="replace"):
            if line.startswith(PROGRESS):
                click.echo(printable(line.removeprefix(PROGRESS).strip()))
    except OSError:
        line = ""
    if line.startswith(DONE):
        return
    is_answer = line.startswith(FAILED_LINE)
    failure = printable(line.removeprefix(FAILED_LINE).strip()) if is_answer else "`esteira start` ended meanwhile"
    print_message(f"esteira: {failure}")
    exit_with(FAILED)
