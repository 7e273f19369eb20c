"""The kinds of attachment in a chat.

In `pipeline.values`, not in `pipeline.models`: sandbox processes import it, and must start without pydantic.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an attachment is to the people in the chat. `ptt` is a voice note."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    PTT = "ptt"
    DOCUMENT = "document"
    STICKER = "sticker"
