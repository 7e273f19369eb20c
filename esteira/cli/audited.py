"""The audit entries of commands: a decorator for every command that changes something."""

from __future__ import annotations

import functools
import os
import pwd
import socket
from collections.abc import Callable
from typing import Any

from click.exceptions import Exit

from actors.operations.audit import AuditEntry
from pipeline.catalogue import Action, Actor, Via

WHO, ROLE = "cli", "admin"  # who can run commands can read the settings, so no command is refused


def audited(action: Action) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a command that changes something. Place it below the options; the first parameter is the entry.

    The command calls `entry.begin(target)` after its last question and before its first change. The entry is completed
    when the command ends, by whatever.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> Any:
            with AuditEntry(cli_actor(), action) as entry:
                try:
                    return command(entry, *args, **options)
                except Exit as status:  # some of the selected could not be changed: no failure of the command
                    ended = status
            raise ended

        run.audited_action = action  # type: ignore[attr-defined]
        return run

    return decorate


def cli_actor() -> Actor:
    """The user of the operating system who runs this command, and the machine."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run with a user id that has no name
        user = str(os.getuid())
    return Actor(who=WHO, role=ROLE, via=Via.CLI, source=f"{user}@{socket.gethostname()}")
