"""The generic hook: attachments in this project's own JSON, for any program that can send HTTP."""

from __future__ import annotations

from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import PayloadError
from pipeline.gateways.intake import HookRequest, ParsedPayload, declared_session
from pipeline.gateways.sources import declared_source
from pipeline.gateways.verification import BEARER, bearer_token, check_secret
from pipeline.models import Attachment, parse_attachment
from pipeline.values.base64_stream import check_base64
from pipeline.values.emptiness import is_empty

source = declared_source


def verify(request: HookRequest, settings: Settings) -> None:
    """Checks `Authorization: Bearer` against API_TOKEN.

    Raises:
        UnauthorizedError: the token is missing or wrong, or API_TOKEN is not set.
    """
    check_secret({BEARER: bearer_token(request.header("authorization"))}, settings.api_token, "API_TOKEN")


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """One attachment as an object, or a list of at most MAX_BATCH. All are checked before the first is accepted.

    Raises:
        PayloadError: a field is invalid; in a list it is named with its index.
    """
    if not isinstance(payload, list):
        return ParsedPayload((_checked(payload, settings),))
    if not 0 < len(payload) <= settings.max_batch:
        raise PayloadError("", f"a list must have 1 to {settings.max_batch} attachments (MAX_BATCH)")
    return ParsedPayload(tuple(_parse_at(index, fields, settings) for index, fields in enumerate(payload)))


def _parse_at(index: int, fields: Any, settings: Settings) -> Attachment:
    try:
        return _checked(fields, settings)
    except PayloadError as error:
        raise PayloadError("", f"[{index}] {error.message}") from None


def _checked(fields: Any, settings: Settings) -> Attachment:
    if isinstance(fields, dict) and is_empty(fields.get("session")):
        fields = {**fields, "session": declared_session(None, "session", settings)}
    attachment = parse_attachment(fields)
    # Checked here, because invalid data that is noticed later is refused after the attachments before it are accepted.
    check_base64(attachment.data or "")
    return attachment
