"""The generic hook /hooks/media: its JSON fields, its token, and the refusal of a whole list for one invalid item."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from pipeline.errors import Code, PayloadError
from pipeline.gateways import GATEWAYS, HookRequest, NoSecretError, UnauthorizedError, media
from pipeline.models import Attachment
from tests.support.checking import settings
from tests.support.payloads import JSON

TOKEN = "a token of the tests"
SETTINGS = settings(max_batch=3, api_token=TOKEN)
ITEM = {"session": "shop", "message_id": "m1", "url": "https://media.example/x"}


def verify(authorization: str, token: str | None = TOKEN, **others: str) -> None:
    request = HookRequest(headers={"authorization": authorization, **others}, secret=TOKEN)
    media.verify(request, settings(api_token=token))


def test_verify_accepts_the_token() -> None:
    verify(f"Bearer {TOKEN}")
    verify(f"bearer {TOKEN}")


@pytest.mark.parametrize("wrong", ["", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"])
def test_verify_refuses_any_other_token_header_or_path(wrong: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        verify(wrong, **{"x-webhook-secret": TOKEN})
    assert caught.value.code == Code.UNAUTHORIZED
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("unset", [None, ""])
def test_verify_without_a_token_names_the_missing_setting(unset: str | None) -> None:
    with pytest.raises(NoSecretError) as caught:
        verify("Bearer ", unset)
    assert caught.value.setting == "API_TOKEN"


def test_parse_accepts_an_attachment_or_an_ordered_list() -> None:
    assert media.parse(ITEM, SETTINGS).attachments == (Attachment(**ITEM),)
    items = [{**ITEM, "message_id": name} for name in "abc"]
    result = media.parse(items, SETTINGS)
    assert [attachment.message_id for attachment in result.attachments] == ["a", "b", "c"]
    assert result.ignored == 0
    assert all(GATEWAYS[attachment.gateway] is media for attachment in result.attachments)


@pytest.mark.parametrize("items", [[], [ITEM] * 4])
def test_list_of_invalid_length_is_refused(items: list[Any]) -> None:
    with pytest.raises(PayloadError, match=r"1 to 3 attachments \(MAX_BATCH\)"):
        media.parse(items, SETTINGS)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({**ITEM, "size": "big"}, "size: "),
        ({**ITEM, "data": "§"}, "data: is not base64"),
        ({"message_id": "m"}, "session: "),
        ({"session": "s", "message_id": "m"}, "url: one of url, data and direct_path is needed"),
        (None, "an attachment is a JSON object"),
        ([ITEM], "an attachment is a JSON object"),
    ],
)
def test_invalid_attachment_is_named_with_its_index(invalid: Any, message: str) -> None:
    with pytest.raises(PayloadError) as caught:
        media.parse([ITEM, invalid], SETTINGS)
    assert caught.value.message.startswith(f"[1] {message}")
    if not isinstance(invalid, list):
        with pytest.raises(PayloadError) as caught:
            media.parse(invalid, SETTINGS)
        assert caught.value.message.startswith(message)


def test_fields_reserved_for_gateways_are_ignored() -> None:
    reserved = {"gateway": "cloud", "remote_id": "1", "fault": {"code": "internal", "message": "x"}}
    (attachment,) = media.parse({**ITEM, **reserved}, SETTINGS).attachments
    assert (attachment.gateway, attachment.remote_id, attachment.fault) == ("media", None, None)


@given(JSON)
def test_parse_accepts_or_refuses_any_json(body: Any) -> None:
    for payload in (body, [body], {**ITEM, "media_key": body, "size": body}, {**ITEM, "session": body, "url": body}):
        try:
            result = media.parse(payload, SETTINGS)
        except PayloadError:
            continue
        assert all(
            Attachment.model_validate_json(attachment.model_dump_json()) == attachment
            for attachment in result.attachments
        )
