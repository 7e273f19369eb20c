"""The generic hook: our own JSON, our own token, all or nothing."""

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
ONE = {"session": "shop", "message_id": "m1", "url": "https://media.example/x"}


def verify(authorization: str, token: str | None = TOKEN, **others: str) -> None:
    request = HookRequest(headers={"authorization": authorization, **others}, body=b"{}", secret=TOKEN)
    media.verify(request, settings(api_token=token))


def test_the_token_is_let_in() -> None:
    verify(f"Bearer {TOKEN}")
    verify(f"bearer {TOKEN}")


@pytest.mark.parametrize("wrong", ["", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"])
def test_another_is_refused_and_so_is_the_path(wrong: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        verify(wrong, **{"x-webhook-secret": TOKEN})
    assert caught.value.code == Code.UNAUTHORIZED
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("unset", [None, ""])
def test_nobody_is_let_in_before_a_token_is_set(unset: str | None) -> None:
    with pytest.raises(NoSecretError) as caught:
        verify("Bearer ", unset)
    assert caught.value.setting == "API_TOKEN"


def test_one_or_a_list_in_their_order() -> None:
    assert media.parse(ONE, SETTINGS).attachments == (Attachment(**ONE),)
    many = [{**ONE, "message_id": name} for name in "abc"]
    found = media.parse(many, SETTINGS)
    assert [each.message_id for each in found.attachments] == ["a", "b", "c"]
    assert found.ignored == 0
    assert all(GATEWAYS[each.gateway] is media for each in found.attachments)


@pytest.mark.parametrize("many", [[], [ONE] * 4])
def test_a_list_has_a_limit_and_is_not_empty(many: list[Any]) -> None:
    with pytest.raises(PayloadError, match=r"1 to 3 attachments \(MAX_BATCH\)"):
        media.parse(many, SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({**ONE, "size": "big"}, "size: "),
        ({**ONE, "data": "§"}, "data: is not base64"),
        ({"message_id": "m"}, "session: "),
        ({"session": "s", "message_id": "m"}, "url: one of url, data and direct_path is needed"),
        (None, "an attachment is a JSON object"),
        ([ONE], "an attachment is a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_its_index(wrong: Any, said: str) -> None:
    with pytest.raises(PayloadError) as caught:
        media.parse([ONE, wrong], SETTINGS)
    assert caught.value.message.startswith(f"[1] {said}")
    if not isinstance(wrong, list):
        with pytest.raises(PayloadError) as caught:
            media.parse(wrong, SETTINGS)
        assert caught.value.message.startswith(said)


def test_nobody_sets_what_only_gateways_know() -> None:
    own = {"gateway": "cloud", "remote_id": "1", "fault": {"code": "internal", "message": "x"}}
    (found,) = media.parse({**ONE, **own}, SETTINGS).attachments
    assert (found.gateway, found.remote_id, found.fault) == ("media", None, None)


@given(JSON)
def test_any_json_at_all_is_taken_or_refused_in_words(body: Any) -> None:
    for given_ in (body, [body], {**ONE, "media_key": body, "size": body}, {**ONE, "session": body, "url": body}):
        try:
            found = media.parse(given_, SETTINGS)
        except PayloadError:
            continue
        assert all(Attachment.model_validate_json(each.model_dump_json()) == each for each in found.attachments)
