"""What a user may have meant by a command that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

CUTOFF = 0.55  # similarity (0 to 1) from which a command is suggested
# Words of other programs for what a command here does.
OTHER_WORDS = {
    "add": "submit",
    "config": "settings",
    "env": "settings",
    "failed": "failures",
    "errors": "failures",
    "get": "status",
    "health": "doctor",
    "help": "--help",
    "info": "status",
    "jobs": "list",
    "ls": "list",
    "ps": "workers",
    "queue": "stats",
    "queues": "stats",
    "redeliver": "webhooks redeliver",
    "remove": "delete",
    "requeue": "sweep",
    "retry": "replay",
    "rm": "delete",
    "run": "start",
    "send": "submit",
    "serve": "start",
    "show": "status",
    "upload": "submit",
    "upgrade": "migrate",
    "validate": "check",
    "version": "--version",
    "web": "start",
    "worker": "workers",
}


def suggestion(name: str, commands: Iterable[str]) -> str:
    """A sentence with the commands that may be meant, or where all are listed."""
    other = OTHER_WORDS.get(name.lower())
    similar = [other] if other else get_close_matches(name.lower(), commands, cutoff=CUTOFF)
    if similar:
        return f"Did you mean {' or '.join(f'`esteira {word}`' for word in similar)}?"
    return "`esteira --help` lists all commands."
