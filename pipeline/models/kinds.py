"""What an attachment is called in a chat. Apart from the models: a child of the sandbox needs no pydantic for it."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an attachment is for the people in the chat. `ptt` is a voice note."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    PTT = "ptt"
    DOCUMENT = "document"
    STICKER = "sticker"
