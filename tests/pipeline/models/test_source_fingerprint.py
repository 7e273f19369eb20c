from __future__ import annotations

import base64
from typing import Any

import pytest

from pipeline.models import Attachment
from pipeline.models.source_fingerprint import source_mark

KEY = bytes(range(32))
HASH = "ab" * 32


def mark(**fields: Any) -> str | None:
    given = {"session": "s", "message_id": "m", "url": "https://a.example/f", "file_sha256": HASH, **fields}
    return source_mark(Attachment.model_validate(given))


def test_mark_reveals_neither_key_nor_url() -> None:
    for found in (mark(), mark(media_key=KEY.hex())):
        assert found
        assert len(found) == 32
        assert int(found, 16)


def test_mark_ignores_session_and_message() -> None:
    assert mark(session="other", message_id="n", kind="video", caption="x") == mark()


@pytest.mark.parametrize("key", [KEY.hex(), base64.b64encode(KEY).decode(), list(KEY)])
def test_mark_depends_on_the_key_not_on_its_form_or_path(key: Any) -> None:
    assert mark(media_key=key) == mark(media_key=KEY.hex(), url=None, direct_path="/v/x?oh=1", gateway="waha")


@pytest.mark.parametrize(
    "other",
    [
        {"url": "https://a.example/g"},
        {"url": "https://a.example/f?signature=1"},
        {"direct_path": "/v/x"},
        {"gateway": "waha"},
        {"file_sha256": "cd" * 32},
        {"media_key": KEY.hex()},
    ],
    ids=lambda other: next(iter(other)),
)
def test_mark_depends_on_location_gateway_hash_and_key(other: dict[str, str]) -> None:
    assert mark(**other) not in {None, mark()}


@pytest.mark.parametrize(
    "vague",
    [{"file_sha256": None}, {"url": None}, {"data": "YQ=="}, {"remote_id": "1"}, {"media_key": "no-key-at-all!"}],
    ids=lambda vague: next(iter(vague)),
)
def test_source_without_secret_has_no_mark(vague: dict[str, Any]) -> None:
    assert mark(**vague) is None
