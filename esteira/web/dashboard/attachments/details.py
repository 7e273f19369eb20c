"""The details of an attachment as a list of terms and values."""

from __future__ import annotations

from collections.abc import Iterator

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.moments import Moment, Phrase, Piece
from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.view import View
from pipeline.models import Record
from pipeline.remedies.messages import translated


def show(view: View, record: Record) -> None:
    """Shows type, size, hash (with a copy button) and origin."""
    with box("dl", "facts"):
        for name, value in _content(view, record):
            _detail(view, name, value)
        if record.sha256:
            with box("div"):
                text("dt", "SHA-256")
                with box("dd", "hash"):
                    text("code", record.sha256)
                    _copy(view, record.sha256)
        with box("div"):
            text("dt", view.t("media.session"))
            with box("dd"):
                link(record.session, links.listing(session=record.session))
        for name, piece in _origin(view, record):
            _detail(view, name, piece)


def _copy(view: View, content: str) -> None:
    text(
        "button",
        view.t("item.copy"),
        "button small",
        type="button",
        data_copy=content,
        data_copied=view.t("item.copied"),
    )


def _detail(view: View, name: str, value: Piece | None) -> None:
    if value:
        with box("div"):
            text("dt", view.t(f"item.{name}"))
            Phrase(view, "dd", (value,))


def _content(view: View, record: Record) -> Iterator[tuple[str, str | None]]:
    mime = record.mime if record.sha256 else None
    yield "found", _typed(view, record.kind if record.sha256 else None, mime)
    yield "declared", _typed(view, record.declared_kind, record.declared_mime)
    yield "mismatch", translated(record.mismatch or "", view.language)
    yield "size", view.size(record.size) if record.size is not None else None
    yield (
        "pixels",
        f"{view.number(record.width)} × {view.number(record.height)}" if record.width and record.height else None,
    )
    yield "duration", view.span(record.duration_ms / 1000) if record.duration_ms is not None else None
    yield "pages", view.number(record.pages) if record.pages is not None else None
    yield "animated", view.t("item.yes") if record.animated else None
    yield "flags", ", ".join(record.flags)


def _typed(view: View, kind: str | None, mime: str | None) -> str:
    return ", ".join(filter(None, (view.t(f"kind.{kind}") if kind else None, mime)))


def _origin(view: View, record: Record) -> Iterator[tuple[str, Piece | None]]:
    yield "gateway", record.gateway
    yield "message", record.message_id
    yield "chat", record.chat
    yield "sender", record.sender
    yield "filename", record.filename
    yield "name", record.name
    for name in ("received_at", "ended_at", "announced_at", "expires_at", "cancelled_at", "deleted_at"):
        at: int | None = getattr(record, name)
        yield name, Moment(at) if at is not None else None
    yield "run", view.number(record.run) if record.run else None
    yield "id", record.id
