from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PayloadError
from pipeline.models import Attachment, Claim, Kind, Record, parse_attachment
from pipeline.values.gateway_values import decode_bytes, display_name

MINIMAL = {"session": "shop", "message_id": "m1", "url": "https://media.example/x"}
SHA256 = st.binary(min_size=32, max_size=32)

DIALECTS = {
    "bytes": lambda raw: raw,
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64 without padding": lambda raw: base64.b64encode(raw).decode().rstrip("="),
    "base64 for URLs": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "base64 for URLs without padding": lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
    "base64 in spaces": lambda raw: f" {base64.b64encode(raw).decode()}\n",
    "numbers": list,
    "numbered object": lambda raw: {str(index): byte for index, byte in enumerate(raw)},
    "buffer": lambda raw: {"type": "Buffer", "data": list(raw)},
}
HEX = {"hex": bytes.hex, "hex in capitals": lambda raw: raw.hex().upper()}


@pytest.mark.parametrize("dialect", [*DIALECTS])
@given(raw=st.binary(max_size=80))
def test_bytes_are_read_in_every_dialect(dialect: str, raw: bytes) -> None:
    assert decode_bytes(DIALECTS[dialect](raw)) == raw


@pytest.mark.parametrize("dialect", [*HEX])
@given(raw=st.binary(min_size=32, max_size=80))
def test_long_hex_is_hex(dialect: str, raw: bytes) -> None:
    assert decode_bytes(HEX[dialect](raw)) == raw


@pytest.mark.parametrize(
    "wrong", [None, 5, True, "!", "a", "ä", [256], [-1], ["1"], {"1": 5}, {"data": [300]}, [[1]], 1.5]
)
def test_what_are_no_bytes_is_none(wrong: Any) -> None:
    assert decode_bytes(wrong) is None


@pytest.mark.parametrize("dialect", [*DIALECTS, *HEX])
@pytest.mark.parametrize("field", ["file_sha256", "file_enc_sha256"])
@given(raw=SHA256)
def test_a_sha256_of_any_dialect_becomes_hex(dialect: str, field: str, raw: bytes) -> None:
    written = {**DIALECTS, **HEX}[dialect](raw)
    assert getattr(parse_attachment({**MINIMAL, field: written}), field) == raw.hex()


@pytest.mark.parametrize("written", [None, ""])
def test_an_empty_sha256_is_none(written: Any) -> None:
    assert parse_attachment({**MINIMAL, "file_sha256": written}).file_sha256 is None


@pytest.mark.parametrize("dialect", ["bytes", "numbers", "numbered object", "buffer"])
@given(raw=SHA256)
def test_a_media_key_in_parts_becomes_base64(dialect: str, raw: bytes) -> None:
    key = parse_attachment({**MINIMAL, "media_key": DIALECTS[dialect](raw)}).media_key
    assert key == base64.b64encode(raw).decode()


def test_a_media_key_as_text_stays_and_a_wrong_one_is_left_to_fetch() -> None:
    assert parse_attachment({**MINIMAL, "media_key": "as it came"}).media_key == "as it came"
    assert parse_attachment({**MINIMAL, "media_key": {"x": 1}}).media_key == '{"x": 1}'


# --- identity ---

WORDS = st.text(min_size=1, max_size=20)


@given(WORDS, WORDS, WORDS, st.integers(0, 50))
def test_an_id_is_32_hex_digits_of_nothing_else(gateway: str, session: str, message: str, part: int) -> None:
    one = Attachment(gateway=gateway, session=session, message_id=message, part=part, url="https://a/b")
    other = Attachment(gateway=gateway, session=session, message_id=message, part=part, caption="x", kind=Kind.VIDEO)
    assert one.id == other.id
    assert len(one.id) == 32
    assert set(one.id) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [{"gateway": "waha"}, {"session": "b"}, {"message_id": "m2"}, {"part": 1}, {"session": "shopm", "message_id": "1"}],
)
def test_an_id_depends_on_gateway_session_message_and_part(change: dict[str, Any]) -> None:
    assert Attachment(**{**MINIMAL, **change}).id != Attachment(**MINIMAL).id


def test_ids_stay_what_they_were() -> None:
    """Catalogues hold them: another way of making them would take every repeat for something new."""
    assert Attachment(session="shop", message_id="m1").id == "461f83100c999549bb47652c11b1d1f3"


def test_numbers_are_taken_for_ids() -> None:
    assert parse_attachment({**MINIMAL, "session": 5, "message_id": 7}).id == Attachment(session="5", message_id="7").id


# --- cleaning ---


@given(st.text(st.characters()))
def test_text_comes_out_fit_for_every_database(text: str) -> None:
    given_ = parse_attachment({**MINIMAL, "caption": text, "chat": text, "mimetype": text, "media_key": f"k{text}"})
    for value in (given_.caption, given_.chat, given_.mimetype, given_.media_key):
        assert value is not None
        assert "\0" not in value
        value.encode()
    assert json.loads(given_.model_dump_json())["caption"] == given_.caption


@given(st.text(st.characters()))
def test_a_file_name_is_safe_to_show_and_short(text: str) -> None:
    name = display_name(text)
    if name is not None:
        assert name
        assert len(name.encode()) <= 255
        assert not set(name) & set("/\\\0\r\n\x1b\u202e\u200b\u2028")
        assert name == display_name(name)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("../../etc/cron.d/x", "x"),
        ("C:\\Users\\a\\photo.jpg", "photo.jpg"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("  .hidden. ", "hidden"),
        ("..", None),
        ("", None),
        (None, None),
        ("olá 🎧.ogg", "olá 🎧.ogg"),
        ("x" * 4096 + ".jpg", "x" * 251 + ".jpg"),
        ("é" * 200 + ".jpg", "é" * 125 + ".jpg"),
    ],
)
def test_file_names(given_: str | None, shown: str | None) -> None:
    assert display_name(given_) == shown


def test_the_media_type_is_the_declared_one_without_parameters() -> None:
    assert Attachment(**MINIMAL, mimetype="Audio/OGG; codecs=opus").media_type == "audio/ogg"
    assert Attachment(**MINIMAL, mimetype=" ; x").media_type is None
    assert Attachment(**MINIMAL).media_type is None


# --- errors ---


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"session": None}, "session"),
        ({"session": ""}, "session"),
        ({"message_id": "x" * 513}, "message_id"),
        ({"message_id": ["m"]}, "message_id"),
        ({"part": -1}, "part"),
        ({"part": "first"}, "part"),
        ({"url": 5}, "url"),
        ({"url": "https://" + "x" * 20_000}, "url"),
        ({"data": 5}, "data"),
        ({"kind": "gif"}, "kind"),
        ({"mimetype": {}}, "mimetype"),
        ({"filename": 5}, "filename"),
        ({"size": -1}, "size"),
        ({"size": "big"}, "size"),
        ({"size": float("nan")}, "size"),
        ({"file_sha256": "ab"}, "file_sha256"),
        ({"file_enc_sha256": [1, 2]}, "file_enc_sha256"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"expires_at": 1.5}, "expires_at"),
        ({"url": None}, "url"),
        ({"url": ""}, "url"),
    ],
)
def test_a_bad_field_is_named_and_its_value_is_not_repeated(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({**MINIMAL, **change})
    assert (caught.value.code, caught.value.field) == (Code.BAD_PAYLOAD, field)
    assert caught.value.message.startswith(f"{field}: ")
    assert "xxx" not in caught.value.message


@pytest.mark.parametrize("field", ["session", "message_id"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({name: value for name, value in MINIMAL.items() if name != field})
    assert caught.value.field == field


@pytest.mark.parametrize("fields", [None, [], "text", 5, [MINIMAL]])
def test_an_attachment_is_an_object(fields: Any) -> None:
    with pytest.raises(PayloadError, match="JSON object"):
        parse_attachment(fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("01data"), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Attachment.model_fields, "unknown"]), JSON))
def test_any_json_is_an_attachment_or_a_named_error(fields: dict[str, Any]) -> None:
    try:
        given_ = parse_attachment({**MINIMAL, **fields})
    except PayloadError:
        return
    assert set(given_.id) <= set(string.hexdigits)
    assert Attachment.model_validate_json(given_.model_dump_json()) == given_


@pytest.mark.parametrize("source", [{"url": "https://a/b"}, {"data": "aGk="}, {"direct_path": "/v/t"}])
def test_one_source_is_enough(source: dict[str, str]) -> None:
    assert parse_attachment({"session": "s", "message_id": "m", "unknown": 1, **source}).session == "s"


@pytest.mark.parametrize("field", ["url", "data", "direct_path"])
def test_what_is_empty_is_none(field: str) -> None:
    assert getattr(Attachment(session="s", message_id="m", **{field: ""}), field) is None


@pytest.mark.parametrize("nothing", ["", b"", [], {}, {"type": "Buffer", "data": []}])
def test_a_media_key_of_no_bytes_stays_one_for_fetch_to_refuse(nothing: Any) -> None:
    assert parse_attachment({**MINIMAL, "media_key": nothing}).media_key == ""


def test_whoever_has_a_file_needs_no_other_source_and_is_checked_all_the_same() -> None:
    bare = {"session": "s", "message_id": "m"}
    assert parse_attachment(bare, has_file=True).url is None
    with pytest.raises(PayloadError, match="one of url, data and direct_path"):
        parse_attachment(bare)
    with pytest.raises(PayloadError, match="session: "):
        parse_attachment({**bare, "session": ""}, has_file=True)


def test_keys_urls_and_bytes_are_not_shown() -> None:
    secret = Attachment(
        **{**MINIMAL, "url": "https://h/?SECRET", "media_key": "SECRET", "data": "SECRET", "direct_path": "SECRET"}
    )
    record = Record(
        id=secret.id,
        gateway="media",
        session="s",
        message_id="m",
        part=0,
        status="received",
        stage="fetch",
        received_at=0,
    )
    assert "SECRET" not in f"{secret!r} {secret} {Claim(token='t', record=record, attachment=secret)!r}"
