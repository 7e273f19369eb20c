"""The command `esteira`: the group of all commands, each imported when it is called or listed."""

from __future__ import annotations

import importlib
from typing import Any

import rich_click as click
from click.exceptions import Exit

COMMANDS = {
    "start": "esteira.cli.start",
    "submit": "esteira.cli.submit",
    "status": "esteira.cli.status",
    "list": "esteira.cli.status:list_",
    "failures": "esteira.cli.failures",
    "replay": "esteira.cli.replay",
    "delete": "esteira.cli.delete",
    "stats": "esteira.cli.stats",
    "workers": "esteira.cli.workers",
    "pause": "esteira.cli.pauses",
    "resume": "esteira.cli.pauses",
    "pauses": "esteira.cli.pauses",
    "cancel": "esteira.cli.cancel",
    "check": "esteira.cli.check",
    "token": "esteira.cli.tokens",
    "link": "esteira.cli.tokens",
    "webhooks": "esteira.cli.webhooks",
    "derive": "esteira.cli.derive",
    "sweep": "esteira.cli.sweep",
    "doctor": "esteira.cli.doctor",
    "migrate": "esteira.cli.migrate",
}

EPILOG = """
Exit status: 0 done, 1 something failed, 2 wrong usage or a wrong setting. Settings come from the environment and from
`.env`; `.env.example` lists every one.
"""


class Commands(click.RichGroup):
    """A group whose commands end in one line on stderr, not in a traceback, when something outside them is wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- as click calls it
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        # All of them take most of a second to import, and a call needs one.
        return _command(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, Exit):
            raise
        except Exception as error:
            importlib.import_module("esteira.cli.errors").leave_with(error)
            raise


def every_command() -> list[click.Command]:
    """All of them, imported."""
    return [_command(name) for name in COMMANDS]


def _command(name: str) -> click.Command:
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)  # type: ignore[no-any-return]


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="esteira", message="%(prog)s %(version)s")
def esteira() -> None:
    """Takes the media of chat gateways off the listener's hands: fetch, check, store and announce, and lose none."""


def main() -> None:
    """The console script."""
    esteira(prog_name="esteira")
