"""The options of `esteira replay` that give one attachment a new source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import rich_click as click

from pipeline.errors import PayloadError
from pipeline.models.replacement_source import NewSource, parse_new_source

NAMES = ("url", "direct_path", "media_key_file", "no_media_key", "file")
# Characters read from a media key's file. The longest form of a key, an array of 32 numbers, is shorter.
MAX_KEY_CHARS = 4096

_file = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options --url --direct-path --media-key-file --no-media-key --file."""
    options = (
        click.option("--url", metavar="URL", help="Download one attachment from this URL."),
        click.option("--direct-path", metavar="PATH", help="Download one attachment from WhatsApp's media servers."),
        click.option(
            "--media-key-file",
            type=click.File(),
            metavar="FILE",
            help="Decrypt with the media key in this file (base64 or hex); `-` is stdin.",
        ),
        click.option("--no-media-key", is_flag=True, help="The new source is not encrypted."),
        click.option("--file", type=_file, metavar="FILE", help="Use the content of a local file for one attachment."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def pop_source(options: dict[str, Any]) -> tuple[NewSource | None, Path | None]:
    """Removes these options from `options`; returns the new source and the local file.

    Raises:
        UsageError: the options exclude each other, or one is invalid.
    """
    url, path, key_file, plain, file = (options.pop(name) for name in NAMES)
    if file and (url is not None or path is not None or key_file or plain):
        raise click.UsageError("--file has the content itself: do not add a URL, a path or a key")
    if key_file and plain:
        raise click.UsageError("give either --media-key-file or --no-media-key")
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
        return file.read(MAX_KEY_CHARS).strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError("--media-key-file cannot be read as text") from None
