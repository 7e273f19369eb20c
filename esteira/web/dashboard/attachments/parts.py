"""Elements that show an attachment: name, status badge, thumbnail."""

from __future__ import annotations

import base64
import binascii
import struct

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.parts import box, picture, text
from esteira.web.dashboard.view import View
from pipeline.catalogue import Preview
from pipeline.models import Kind, Record

ICONS = {
    Kind.IMAGE: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15 9.5h.01",
    Kind.STICKER: "M5 4h14v9l-6 7H5zM13 20v-7h6M9 9h.01M14 9h.01",
    Kind.VIDEO: "M4 6h11v12H4zM15 10l5-3v10l-5-3",
    Kind.AUDIO: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0M19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0",
    Kind.PTT: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3M6 11a6 6 0 0 0 12 0M12 17v4",
    Kind.DOCUMENT: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
}
UNKNOWN = "M6 3h8l4 4v14H6zM14 3v4h4M12 17h.01M10 12a2 2 0 1 1 2 2"


def name_of(record: Record) -> str:
    """The file name declared by the sender, else the stored name, else the message id."""
    return record.filename or record.name or record.message_id


def kind_of(record: Record) -> Kind | None:
    """The detected kind, else the declared one."""
    return record.kind or record.declared_kind


def badge(view: View, record: Record) -> TextElement:
    """The status as a coloured badge."""
    return text("span", view.t(f"status.{record.status}"), f"badge {record.status}")


def summary(view: View, record: Record) -> str:
    """A summary such as `image · JPEG · 1.2 MB`."""
    kind = kind_of(record)
    words = [view.t(f"kind.{kind}") if kind else "", (record.ext or "").upper()]
    return " · ".join(filter(None, [*words, view.size(record.size) if record.size is not None else ""]))


def thumb(view: View, record: Record, preview: Preview | None, classes: str = "") -> Element:
    """The thumbnail, or the icon of the kind if there is none; hidden from screen readers."""
    frame = box("span", f"thumb {classes}", aria_hidden="true")
    with frame:
        if preview and preview.has_thumbnail and record.storage_key and record.deleted_at is None:
            if colour := colour_of(preview.thumbhash):
                frame.style(f"background-color: {colour}")
            size = {"width": preview.width or 1, "height": preview.height or 1}
            box("img", src=links.thumbnail(record, view.caller), alt="", loading="lazy", decoding="async", **size)
        else:
            kind = kind_of(record)
            picture(ICONS[kind] if kind else UNKNOWN)
    return frame


def colour_of(thumbhash: str | None) -> str | None:
    """The average colour of a ThumbHash (base64) as a CSS colour; None without a valid one."""
    try:
        first, second, third = struct.unpack_from("3B", base64.b64decode(thumbhash or "", validate=True))
    except (binascii.Error, struct.error):
        return None
    bits = first | second << 8 | third << 16
    light, yellow, red = (bits & 63) / 63, (bits >> 6 & 63) / 31.5 - 1, (bits >> 12 & 63) / 31.5 - 1
    blue = light - 2 / 3 * yellow
    r = (3 * light - blue + red) / 2
    return "rgb({} {} {})".format(*(round(255 * min(1, max(0, part))) for part in (r, r - red, blue)))
