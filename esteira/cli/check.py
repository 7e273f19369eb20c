"""`esteira check`: detects and validates local files, without a queue, a database or a storage."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rich_click as click

from esteira.cli.environment import settings_for_command
from esteira.cli.output import examples, exit_with, print_json, progress_bar
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.media_types.decoding import decoding_sandbox
from pipeline.models import Attachment, Fetched, Kind, Validated
from pipeline.sandbox import Sandbox
from pipeline.steps.detect import detect
from pipeline.steps.validate import validate

FILES_PER_PROCESS = 4  # files in progress per sandbox process, so that none of the processes waits for the next file


@click.command(
    epilog=examples(
        "esteira check photo.jpg",
        "esteira check --kind sticker *.webp",
        "esteira check ~/Downloads/* | jq -r 'select(.verdict == \"reject\") | .path'",
    )
)
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(list(map(str, Kind))), help="Check as if the sender had declared this kind.")
@click.option("--mimetype", metavar="TYPE", help="Check as if the sender had declared this type, e.g. `image/jpeg`.")
@click.option("--json", "_as_json", is_flag=True, help="Accepted for symmetry: the output is always JSON.")
def check(files: tuple[Path, ...], kind: str | None, mimetype: str | None, _as_json: bool) -> None:
    """Checks whether local files would be accepted: one line of JSON per file, exit status 1 if any is rejected.

    The exit status is 2 if none is rejected for its content and one is missing, unreadable or not a file.

    Fields: path, verdict (accept or reject), kind, mime, ext, error_code, error.
    """
    settings = settings_for_command()
    declared = Attachment(session="check", message_id="check", kind=Kind(kind) if kind else None, mimetype=mimetype)
    codes: Counter[str | None] = Counter()
    with progress_bar("files") as bar:
        task = bar.add_task("checking", total=len(files))
        for verdict in verdicts(files, declared, settings=settings):
            codes[verdict["error_code"]] += 1
            print_json(verdict)
            bar.advance(task)
    exit_with(_exit_status(codes))


def _exit_status(codes: Counter[str | None]) -> int:
    """0, 1 or 2 for the error codes of the verdicts; None is that of an accepted file."""
    rejected = codes.keys() - {None, Code.NO_SOURCE}
    return 1 if rejected else 2 if Code.NO_SOURCE in codes else 0


def verdicts(files: Iterable[Path], declared: Attachment, *, settings: Settings) -> Iterator[dict[str, Any]]:
    """The verdict on each file, in the order of `files`; several are checked at the same time."""
    sandbox = decoding_sandbox(settings)
    try:
        with ThreadPoolExecutor(settings.sandbox_processes * FILES_PER_PROCESS) as pool:
            yield from pool.map(lambda path: _verdict(path, declared, sandbox=sandbox, settings=settings), files)
    finally:
        sandbox.close()


def _verdict(path: Path, declared: Attachment, *, sandbox: Sandbox, settings: Settings) -> dict[str, Any]:
    # Validated again, so that the file name is cleaned like one from a sender.
    attachment = Attachment.model_validate(declared.model_dump() | {"filename": path.name})
    try:
        detected = _check(path, attachment, sandbox=sandbox, settings=settings).detected
    except PipelineError as error:
        unknown = {"kind": None, "mime": None, "ext": None}
        reason = {"error_code": str(error.code), "error": error.message}
        return {"path": str(path), "verdict": "reject", **unknown, **reason}
    known = {"kind": str(detected.kind), "mime": detected.mime, "ext": detected.ext}
    return {"path": str(path), "verdict": "accept", **known, "error_code": None, "error": None}


def _check(path: Path, attachment: Attachment, *, sandbox: Sandbox, settings: Settings) -> Validated:
    fetched, path = _read(path), path.resolve()  # the sandbox opens no link
    detected = detect(attachment, fetched, path=path, sandbox=sandbox, settings=settings)
    return validate(detected, path=path, sandbox=sandbox, settings=settings)


def _read(path: Path) -> Fetched:
    """Size and hash of a local file.

    Raises:
        PermanentError: `no_source` if it cannot be read, `empty` if it has no content.
    """
    if not path.is_file():  # a directory, or a pipe, whose end might never come
        raise PermanentError(Code.NO_SOURCE, "is not a file" if path.exists() else "does not exist")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            size = file.tell()
    except OSError as error:
        raise PermanentError(Code.NO_SOURCE, f"cannot be read: {error.strerror}") from error
    if size == 0:
        raise PermanentError(Code.EMPTY, "the file is empty")
    return Fetched(size=size, sha256=digest.hexdigest())
