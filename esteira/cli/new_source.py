"""The options that give one attachment a new source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import rich_click as click

from pipeline.errors import PayloadError
from pipeline.models.replacement_source import NewSource, parse_new_source

NAMES = ("url", "direct_path", "media_key_file", "no_media_key", "file")
LONGEST_KEY = 4096  # characters that are read of a media key's file; 32 bytes as an array of numbers need fewer

_file = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options --url --direct-path --media-key-file --no-media-key --file."""
    options = (
        click.option("--url", metavar="URL", help="A new source, for exactly one ID: it starts at fetch."),
        click.option("--direct-path", metavar="PATH", help="A new path on WhatsApp's media servers, for one ID."),
        click.option(
            "--media-key-file",
            type=click.File(),
            metavar="FILE",
            help="A file with the media key of the bytes there, in base64 or hex; `-` is stdin.",
        ),
        click.option("--no-media-key", is_flag=True, help="The bytes there are not encrypted."),
        click.option("--file", type=_file, metavar="FILE", help="A local file with its bytes, for one ID."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def taken(given: dict[str, Any]) -> tuple[NewSource | None, Path | None]:
    """Takes these options out of `given`; the new source, and the local file that has the bytes.

    Raises:
        UsageError: they do not go together, or one is wrong.
    """
    url, path, key_file, plain, file = (given.pop(name) for name in NAMES)
    if file and (url is not None or path is not None or key_file or plain):
        raise click.UsageError("--file has the bytes themselves: give neither a place nor a key with it")
    if key_file and plain:
        raise click.UsageError("give --media-key-file or --no-media-key, not both")
    return _source(url, path, key_file, plain=plain), file


def _source(url: str | None, path: str | None, key_file: TextIO | None, *, plain: bool) -> NewSource | None:
    fields: dict[str, Any] = {"url": url, "direct_path": path}
    fields = {name: value for name, value in fields.items() if value is not None}
    for name, value in fields.items():
        if not value:
            raise click.UsageError(f"--{name.replace('_', '-')} is empty")
    if plain or key_file:
        fields["media_key"] = _key(key_file) if key_file else None
    try:
        return parse_new_source(fields)
    except PayloadError as error:
        option = {"media_key": "media-key-file", "direct_path": "direct-path"}.get(error.field, error.field)
        raise click.UsageError(f"--{option} {error.message.removeprefix(f'{error.field}: ')}") from None


def _key(file: TextIO) -> str:
    try:
        return file.read(LONGEST_KEY).strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError("--media-key-file cannot be read as text") from None
