"""`esteira settings`: all settings with their defaults, as `.env.example` has them."""

from __future__ import annotations

from importlib import resources

import rich_click as click

from esteira.cli.output import examples


@click.command(epilog=examples("esteira settings > .env", "esteira settings | grep -A 1 -i storage"))
def settings() -> None:
    """Prints every setting with its default and its meaning, in the form of a `.env` file.

    It is `.env.example` of this version. Every setting is commented out, so that a copy changes nothing until the `#`
    of a line is removed. The settings in force are not shown: they may contain secrets.
    """
    # As bytes: a terminal or locale without UTF-8 must not end it.
    click.echo((resources.files("esteira.cli") / "env.example").read_bytes(), nl=False)
