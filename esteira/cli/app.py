"""The command `esteira`: a group of commands, each imported when it is called."""

from __future__ import annotations

import gc
import importlib
import os
import resource
import sys
from typing import Any, NoReturn

import rich_click as click
from click.exceptions import Exit, NoSuchCommand
from rich.text import Text

from esteira.cli.commands import COMMANDS, listed_command, load_command
from esteira.cli.suggestions import suggestion
from pipeline.security.private_dirs import set_private_umask

EPILOG = Text(
    """Examples:
  esteira start                      everything on this machine
  esteira start --demo               a demonstration with sample files
  esteira submit photo.jpg --wait    one file through all stages
  esteira list --status failed       the attachments that failed

Settings come from the environment and from `.env`; `esteira settings` lists all of them.
Exit status: 0 success, 1 something failed, 2 wrong usage or a wrong setting."""
)

OUT_OF_MEMORY = b"esteira: out of memory: raise the limit of memory (ulimit -v, or that of the container)\n"

# Imports fail in many ways with less; commands other than `start` work with 95 MB (list, status, doctor measured).
LEAST_ADDRESS_BYTES = 95_000_000

click.rich_click.PADDING_HELPTEXT_FIRST_LINE = (0, 0, 1, 0)  # a blank line after the first paragraph of a help


class Commands(click.RichGroup):
    """A group that imports its commands on demand and reports outside failures in one line instead of a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- as click calls it
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        # Importing all commands takes seconds, a list of commands needs none of them, and a call only one.
        return listed_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, _, rest = super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            wrong = error.command_name
            raise click.UsageError(f"No such command {wrong!r}. {suggestion(wrong, COMMANDS)}", ctx) from None
        return name, load_command(name) if name else None, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, Exit):
            raise
        except MemoryError:  # there may be no memory for another call, nor for the end of the interpreter
            _exit_out_of_memory()
        except Exception as error:
            _exit_if_unloadable(error)
            importlib.import_module("esteira.cli.errors").exit_with_message(error)
            raise


def _exit_out_of_memory() -> NoReturn:
    os.write(2, OUT_OF_MEMORY)
    os._exit(1)


def _exit_if_unloadable(error: Exception) -> None:
    """Ends the command with one line if a module cannot be loaded; nothing else has to be loaded for that."""
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
        text = f"a library cannot be loaded ({error}): install it, or Esteira's dependencies again"
        sys.stderr.write(f"esteira: {text}\n")
        raise Exit(1) from None


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="esteira", message="%(prog)s %(version)s")
def esteira() -> None:
    """Downloads, decrypts, checks and stores chat media in the background, so that your bot does not block.

    \b
    attachment  the media of one message: a photo, voice note, video, document
                or sticker; commands name it by its ID
    session     the chat account (phone number, instance) that received it
    queue       the attachments that wait for a worker; kept in Redis
    stage       a step of processing, in this order: fetch, detect, validate,
                persist, notify
    replay      to process an attachment again that failed, was rejected or
                has expired
    """
    if not gc.isenabled():  # the command is imported; `main` has switched the collector off for that
        gc.freeze()
        gc.enable()


def main() -> None:
    """The console script."""
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= address_space < LEAST_ADDRESS_BYTES:  # -1 is no limit
        _exit_out_of_memory()
    set_private_umask()
    # Imports make hardly any garbage, and looking for it in all that they load takes a tenth of the start.
    gc.disable()
    esteira(prog_name="esteira")
