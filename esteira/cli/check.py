"""`esteira check`: what the belt would say of local files, without a queue, a catalogue or a storage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rich_click as click

from esteira.cli.environment import settings_for_command
from esteira.cli.output import examples, leave, print_json, progress
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.models import Attachment, Fetched, Kind, Validated
from pipeline.sandbox import Sandbox
from pipeline.steps.detect import detect
from pipeline.steps.validate import validate

AHEAD = 4  # files in work for each sandbox process, so that none waits for its next one


@click.command(
    epilog=examples(
        "esteira check photo.jpg",
        "esteira check --kind sticker *.webp",
        "esteira check ~/Downloads/* | jq -r 'select(.verdict == \"reject\") | .path'",
    )
)
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice([str(one) for one in Kind]), help="What the sender would declare.")
@click.option("--mimetype", metavar="TYPE", help="What the sender would declare, such as `image/jpeg`.")
@click.option("--json", "_as_json", is_flag=True, help="A line of JSON for each file: this is its only form.")
def check(files: tuple[Path, ...], kind: str | None, mimetype: str | None, _as_json: bool) -> None:
    """Detects and validates local files: a line of JSON each, exit status 1 if one would be rejected.

    Fields: path, verdict (accept or reject), kind, mime, ext, error_code, error.
    """
    settings = settings_for_command()
    declared = Attachment(session="check", message_id="check", kind=Kind(kind) if kind else None, mimetype=mimetype)
    rejected = 0
    with progress("files") as bar:
        task = bar.add_task("checking", total=len(files))
        for verdict in verdicts(files, declared, settings=settings):
            rejected += verdict["verdict"] == "reject"
            print_json(verdict)
            bar.advance(task)
    leave(1 if rejected else 0)


def verdicts(files: Iterable[Path], declared: Attachment, *, settings: Settings) -> Iterator[dict[str, Any]]:
    """What the belt would say of each file, in the order given; several are looked at at once."""
    sandbox = Sandbox(
        processes=settings.sandbox_processes,
        memory_mb=settings.sandbox_memory_mb,
        cpu_s=settings.sandbox_cpu_s,
        wall_s=settings.sandbox_wall_s,
    )
    try:
        with ThreadPoolExecutor(settings.sandbox_processes * AHEAD) as pool:
            yield from pool.map(lambda path: _verdict(path, declared, sandbox=sandbox, settings=settings), files)
    finally:
        sandbox.close()


def _verdict(path: Path, declared: Attachment, *, sandbox: Sandbox, settings: Settings) -> dict[str, Any]:
    # Validated anew, so that the file's name is cleaned like one that a sender gave.
    attachment = Attachment.model_validate(declared.model_dump() | {"filename": path.name})
    try:
        checked = _checked(path, attachment, sandbox=sandbox, settings=settings)
    except PipelineError as error:
        nothing = {"kind": None, "mime": None, "ext": None}
        reason = {"error_code": str(error.code), "error": error.message}
        return {"path": str(path), "verdict": "reject", **nothing, **reason}
    found = checked.detected
    facts = {"kind": str(found.kind), "mime": found.mime, "ext": found.ext}
    return {"path": str(path), "verdict": "accept", **facts, "error_code": None, "error": None}


def _checked(path: Path, attachment: Attachment, *, sandbox: Sandbox, settings: Settings) -> Validated:
    fetched = _fetched(path)
    detected = detect(attachment, fetched, path=path, sandbox=sandbox, settings=settings)
    return validate(detected, path=path, sandbox=sandbox, settings=settings)


def _fetched(path: Path) -> Fetched:
    """Size and hash of a local file.

    Raises:
        PermanentError: `no_source` if it cannot be read, `empty` if nothing is in it.
    """
    if not path.is_file():  # a folder, or a pipe that would never end
        raise PermanentError(Code.NO_SOURCE, "is no file" if path.exists() else "does not exist")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            size = file.tell()
    except OSError as error:
        raise PermanentError(Code.NO_SOURCE, f"cannot be read: {error.strerror}") from error
    if size == 0:
        raise PermanentError(Code.EMPTY, "the file is empty")
    return Fetched(size=size, sha256=digest.hexdigest())
