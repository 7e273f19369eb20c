"""Shows pictures, videos and sounds that browsers display without running active content."""

from __future__ import annotations

from collections.abc import Sequence

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.view import View
from pipeline.catalogue import Preview
from pipeline.models import Record

# Types that browsers display natively; other types get their thumbnail.
PICTURES = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"}
VIDEOS = {"video/mp4", "video/webm", "video/quicktime"}
SOUNDS = {"audio/ogg", "audio/mpeg", "audio/wav", "audio/x-wav", "audio/mp4", "audio/aac", "audio/flac", "audio/webm"}
HIGH = 48


def show(view: View, record: Record, preview: Preview | None) -> None:
    """The content, and a link to save it."""
    if record.deleted_at is not None or record.storage_key is None:
        with box("div", "shown nothing"):
            parts.thumb(view, record, None, "large")
            text("p", view.t("item.deleted" if record.deleted_at is not None else "item.no_content"), "hint")
        return
    with box("div", "shown"):
        _content(view, record, preview)
    with box("p", "saving"):
        text(
            "a", view.t("item.save"), "button", href=links.content(record, view.caller), download=parts.name_of(record)
        )


def _content(view: View, record: Record, preview: Preview | None) -> None:
    mime, label = record.mime or "", parts.name_of(record)
    where = links.content(record, view.caller)
    size = {"width": record.width, "height": record.height} if record.width and record.height else {}
    if mime in PICTURES:
        box("img", "whole", src=where, alt=record.caption or label, decoding="async", **size)
    elif mime in VIDEOS:
        still = {"poster": links.thumbnail(record, view.caller)} if preview and preview.has_thumbnail else {}
        box("video", "whole", src=where, controls=True, preload="metadata", aria_label=label, **still, **size)
    elif mime in SOUNDS:
        if preview and preview.peaks:
            waveform(preview.peaks)
        box("audio", "whole", src=where, controls=True, preload="metadata", aria_label=label)
    else:
        parts.thumb(view, record, preview, "large")
        text("p", view.t("item.not_shown"), "hint")


def waveform(peaks: Sequence[int]) -> None:
    """Draws the waveform of a sound; hidden from screen readers."""
    step = 4
    bars = [max(2, peak * HIGH / 100) for peak in peaks]
    path = "".join(f"M{at * step + 2} {(HIGH - bar) / 2:.1f}v{bar:.1f}" for at, bar in enumerate(bars))
    with box(
        "svg", "waveform", viewBox=f"0 0 {len(bars) * step} {HIGH}", preserveAspectRatio="none", aria_hidden="true"
    ):
        box("path", d=path)
