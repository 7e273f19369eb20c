"""Downloads, decrypts, checks and stores chat media in the background, so that your bot does not block.

    from esteira import Attachment, process_media

    attachment = Attachment(session="shop", message_id="3EB0…", url="https://…", kind="image")
    receipt = process_media(attachment)

The names below are imported at first use, and what `process_media` needs (the database and the Redis client) at its
first call. `from actors.hook import process_media` imports all of that at once.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from esteira.collisions import require_own

if TYPE_CHECKING:
    from pathlib import Path

    from actors.hook import Receipt, StartInBackground
    from pipeline.errors import PayloadError, RetryableError
    from pipeline.models import Attachment, parse_attachment

__all__ = ["Attachment", "PayloadError", "Receipt", "RetryableError", "parse_attachment", "process_media"]

_MODULES = {
    "Attachment": "pipeline.models",
    "PayloadError": "pipeline.errors",
    "Receipt": "actors.hook",
    "RetryableError": "pipeline.errors",
    "parse_attachment": "pipeline.models",
}


def process_media(
    attachment: Attachment,
    *,
    file: Path | None = None,
    aside: StartInBackground | None = None,
    by_rules: bool = True,
) -> Receipt:
    """Accepts an attachment; see `actors.hook.process_media`, which this calls."""
    receipt: Receipt = _hook().process_media(attachment, file=file, aside=aside, by_rules=by_rules)
    return receipt


@cache
def _hook() -> Any:
    require_own("pipeline", "actors")
    return import_module("actors.hook")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_own("pipeline", "actors")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
