"""Downloads, decrypts, checks and stores chat media in the background, so that your bot does not block.

    from esteira import Attachment, process_media

    attachment = Attachment(session="shop", message_id="3EB0…", url="https://…", kind="image")
    receipt = process_media(attachment)

The names below are imported at first use, so that `import esteira` alone is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.hook import Receipt, process_media
    from pipeline.errors import PayloadError, RetryableError
    from pipeline.models import Attachment, parse_attachment

__all__ = ["Attachment", "PayloadError", "Receipt", "RetryableError", "parse_attachment", "process_media"]

_MODULES = {
    "Attachment": "pipeline.models",
    "PayloadError": "pipeline.errors",
    "Receipt": "actors.hook",
    "RetryableError": "pipeline.errors",
    "parse_attachment": "pipeline.models",
    "process_media": "actors.hook",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
