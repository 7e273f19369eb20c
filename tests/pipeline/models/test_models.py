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
from pipeline.values.file_names import display_name
from pipeline.values.gateway_values import decode_bytes

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
def test_bytes_are_parsed_in_every_form(dialect: str, raw: bytes) -> None:
    assert decode_bytes(DIALECTS[dialect](raw)) == raw


@pytest.mark.parametrize("dialect", [*HEX])
@given(raw=st.binary(min_size=32, max_size=80))
def test_long_hex_is_parsed_as_hex(dialect: str, raw: bytes) -> None:
    assert decode_bytes(HEX[dialect](raw)) == raw


@pytest.mark.parametrize(
    "wrong", [None, 5, True, "!", "a", "ä", [256], [-1], ["1"], {"1": 5}, {"data": [300]}, [[1]], 1.5]
)
def test_invalid_bytes_are_none(wrong: Any) -> None:
    assert decode_bytes(wrong) is None


@pytest.mark.parametrize("dialect", [*DIALECTS, *HEX])
@pytest.mark.parametrize("field", ["file_sha256", "file_enc_sha256"])
@given(raw=SHA256)
def test_sha256_of_any_form_becomes_hex(dialect: str, field: str, raw: bytes) -> None:
    written = {**DIALECTS, **HEX}[dialect](raw)
    assert getattr(parse_attachment({**MINIMAL, field: written}), field) == raw.hex()


@pytest.mark.parametrize("written", [None, ""])
def test_empty_sha256_is_none(written: Any) -> None:
    assert parse_attachment({**MINIMAL, "file_sha256": written}).file_sha256 is None


@pytest.mark.parametrize("dialect", ["bytes", "numbers", "numbered object", "buffer"])
@given(raw=SHA256)
def test_media_key_as_array_becomes_base64(dialect: str, raw: bytes) -> None:
    key = parse_attachment({**MINIMAL, "media_key": DIALECTS[dialect](raw)}).media_key
    assert key == base64.b64encode(raw).decode()


def test_media_key_as_text_is_kept() -> None:
    assert parse_attachment({**MINIMAL, "media_key": "as-it-came"}).media_key == "as-it-came"
    assert parse_attachment({**MINIMAL, "media_key": {"x": 1}}).media_key == '{"x": 1}'


# --- identity ---

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    str.strip
)


@given(WORDS, WORDS, WORDS, st.integers(0, 50))
def test_id_is_32_hex_digits(gateway: str, session: str, message: str, part: int) -> None:
    one = Attachment(gateway=gateway, session=session, message_id=message, part=part, url="https://a/b")
    other = Attachment(gateway=gateway, session=session, message_id=message, part=part, caption="x", kind=Kind.VIDEO)
    assert one.id == other.id
    assert len(one.id) == 32
    assert set(one.id) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [{"gateway": "waha"}, {"session": "b"}, {"message_id": "m2"}, {"part": 1}, {"session": "shopm", "message_id": "1"}],
)
def test_id_depends_on_gateway_session_message_and_part(change: dict[str, Any]) -> None:
    assert Attachment(**{**MINIMAL, **change}).id != Attachment(**MINIMAL).id


def test_ids_are_stable() -> None:
    """Existing databases contain these ids. With other ids every repeated message would look new."""
    assert Attachment(session="shop", message_id="m1").id == "461f83100c999549bb47652c11b1d1f3"


def test_numeric_identifiers_become_text() -> None:
    assert parse_attachment({**MINIMAL, "session": 5, "message_id": 7}).id == Attachment(session="5", message_id="7").id


# --- cleaning ---


@given(st.text(st.characters()))
def test_text_is_cleaned_for_every_database(text: str) -> None:
    given_ = parse_attachment({**MINIMAL, "caption": f"c{text}", "mimetype": f"m{text}", "media_key": f"!{text}"})
    for value in (given_.caption, given_.mimetype, given_.media_key):
        assert value is not None
        assert "\0" not in value
        value.encode()
    assert json.loads(given_.model_dump_json())["caption"] == given_.caption


@given(st.text(st.characters()))
def test_file_name_is_safe_and_short(text: str) -> None:
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
        ("nota 12/2024.pdf", "nota 12_2024.pdf"),
        ("nota 12\\2024.pdf", "nota 12_2024.pdf"),
        ("a//b/./c.pdf", "a_b_c.pdf"),
        ("nota/", "nota"),
        ("../../etc/passwd", "passwd"),
        ("a/../../b.pdf", "b.pdf"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/passwd", "passwd"),
        ("\\\\server\\share\\x.pdf", "x.pdf"),
        ("file:///home/a/x.pdf", "x.pdf"),
        ("..//", None),
        ("PED:10001:23 申請表格.pdf", "PED:10001:23 申請表格.pdf"),
        ("recibo 👩\u200d👧 praia.pdf", "recibo 👩\u200d👧 praia.pdf"),
        ("❤️\u200d🔥.png", "❤️\u200d🔥.png"),
        ("1\ufe0f\u20e3.txt", "1\ufe0f\u20e3.txt"),
        ("گزارش\u200cها.pdf", "گزارش\u200cها.pdf"),
        ("PDF\u200cها.pdf", "PDF\u200cها.pdf"),
        ("क्\u200dष.pdf", "क्\u200dष.pdf"),
        ("അവന്\u200d.pdf", "അവന്\u200d.pdf"),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f.png",) * 2,
        ("a\U000e0067\U000e007f.png", "a.png"),
        ("in\u200dvoice\u200c.pdf", "invoice.pdf"),
        ("👩\u200d\u200d\u200c👧", "👩\u200d👧"),
        ("\u0600123.pdf", "\u0600123.pdf"),
        ("a\u2066b\u2069c\u200fd\u061ce.pdf", "abcde.pdf"),
        ("é" * 200 + ".jpg", "é" * 125 + ".jpg"),
    ],
)
def test_file_name_examples(given_: str | None, shown: str | None) -> None:
    assert display_name(given_) == shown


def test_media_type_has_no_parameters() -> None:
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
        ({"mimetype": {"a": 1}}, "mimetype"),
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
def test_invalid_field_is_named_without_its_value(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({**MINIMAL, **change})
    assert (caught.value.code, caught.value.field) == (Code.BAD_PAYLOAD, field)
    assert caught.value.message.startswith(f"{field}: ")
    assert "xxx" not in caught.value.message


@pytest.mark.parametrize("field", ["session", "message_id"])
def test_missing_field_is_named(field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({name: value for name, value in MINIMAL.items() if name != field})
    assert caught.value.field == field


@pytest.mark.parametrize("fields", [None, [], "text", 5, [MINIMAL]])
def test_attachment_must_be_a_json_object(fields: Any) -> None:
    with pytest.raises(PayloadError, match="JSON object"):
        parse_attachment(fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("01data"), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Attachment.model_fields, "unknown"]), JSON))
def test_any_json_is_an_attachment_or_a_payload_error(fields: dict[str, Any]) -> None:
    try:
        given_ = parse_attachment({**MINIMAL, **fields})
    except PayloadError:
        return
    assert set(given_.id) <= set(string.hexdigits)
    assert Attachment.model_validate_json(given_.model_dump_json()) == given_


@pytest.mark.parametrize("source", [{"url": "https://a/b"}, {"data": "aGk="}, {"direct_path": "/v/t"}])
def test_any_single_source_is_accepted(source: dict[str, str]) -> None:
    assert parse_attachment({"session": "s", "message_id": "m", "unknown": 1, **source}).session == "s"


NOTHING = ("", " ", "\n", b"", [], {}, {"type": "Buffer", "data": []}, {"data": []}, {"type": "Buffer"}, None, False)
EMPTY_BUFFER = st.fixed_dictionaries(
    {}, optional={"type": st.just("Buffer"), "data": st.sampled_from([[], "", None, {}])}
)
OPTIONAL = sorted(Attachment.model_fields.keys() - {"gateway", "session", "message_id", "fault", "url"})


@given(st.dictionaries(st.sampled_from(OPTIONAL), st.sampled_from(NOTHING) | EMPTY_BUFFER | st.text(" \t\n")))
def test_empty_field_of_any_form_is_absent(fields: dict[str, Any]) -> None:
    assert parse_attachment({**MINIMAL, **fields}) == parse_attachment(MINIMAL)


@pytest.mark.parametrize("field", ["session", "message_id", "url"])
@pytest.mark.parametrize("nothing", NOTHING)
def test_empty_required_field_is_named(field: str, nothing: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({**MINIMAL, field: nothing})
    assert caught.value.field == field


@pytest.mark.parametrize(
    "zero", [0, 0.0, "0", "00", " 0.0 ", {"low": 0, "high": 0, "unsigned": True}, {"low": 2**70, "high": 0}]
)
@pytest.mark.parametrize("field", ["size", "timestamp", "expires_at"])
def test_zero_is_absent_where_it_is_impossible(field: str, zero: Any) -> None:
    assert getattr(parse_attachment({**MINIMAL, field: zero}), field) is None


@pytest.mark.parametrize(
    "field", ["kind", "mimetype", "filename", "media_key", "file_sha256", "direct_path", "caption"]
)
def test_zero_is_no_text(field: str) -> None:
    assert parse_attachment({**MINIMAL, field: 0}) == parse_attachment(MINIMAL)
    assert parse_attachment({**MINIMAL, "filename": "0", "chat": 0}).filename == "0"


@pytest.mark.parametrize("number", [1, {"low": 0, "high": 1}, "10"])
def test_other_numbers_are_no_zero(number: Any) -> None:
    assert parse_attachment({**MINIMAL, "size": number}).size


@pytest.mark.parametrize("field", ["session", "message_id", "chat", "sender"])
@pytest.mark.parametrize("wrong", ["a\0b", "a\ud800b", "\udfff"])
def test_identifier_that_cannot_be_stored_is_refused_not_changed(field: str, wrong: str) -> None:
    with pytest.raises(PayloadError, match=f"{field}: must not contain NUL or a lone surrogate"):
        parse_attachment({**MINIMAL, field: wrong})


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip))
def test_identifier_is_kept_as_it_is(text: str) -> None:
    kept = parse_attachment({**MINIMAL, "message_id": text, "session": text, "chat": text, "sender": text})
    assert {kept.message_id, kept.session, kept.chat, kept.sender} == {text}


KEY_WITH_PLUS = "+VCv86hNyr/pPHS0+1+by8ynjJ/YAS/RC0kunFI2428="


@given(SHA256)
def test_spaces_in_place_of_plus_are_repaired(raw: bytes) -> None:
    written = base64.b64encode(raw).decode().replace("+", " ")
    repaired = parse_attachment({**MINIMAL, "media_key": written, "file_sha256": written})
    assert decode_bytes(repaired.media_key) == raw
    assert repaired.file_sha256 == raw.hex()


@pytest.mark.parametrize(
    "written", [KEY_WITH_PLUS, KEY_WITH_PLUS.rstrip("="), f"\t{KEY_WITH_PLUS}\n", f"{KEY_WITH_PLUS}  "]
)
def test_spaces_at_the_start_are_repaired_and_at_the_end_ignored(written: str) -> None:
    given_ = parse_attachment({**MINIMAL, "media_key": written.replace("+", " ")})
    assert decode_bytes(given_.media_key) == decode_bytes(KEY_WITH_PLUS)


@pytest.mark.parametrize(
    "ambiguous",
    [
        "fVCv86hNyr/pPHS0 1 by8ynjJ/YAS/RC0kunFI242=",
        "fVCv86hNyr/pPHS0  1  by8ynjJ/YAS/RC0kunFI2428=",
        "fVCv86hNyr_pPHS0 1 by8ynjJ_YAS_RC0kunFI2428=",
        "a b",
    ],
)
@pytest.mark.parametrize("field", ["media_key", "file_sha256", "file_enc_sha256"])
def test_spaces_that_are_no_plus_are_refused_at_once(field: str, ambiguous: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({**MINIMAL, field: ambiguous})
    assert caught.value.field == field
    assert ambiguous not in caught.value.message


def test_local_file_needs_no_other_source() -> None:
    bare = {"session": "s", "message_id": "m"}
    assert parse_attachment(bare, has_file=True).url is None
    with pytest.raises(PayloadError, match="one of url, data and direct_path"):
        parse_attachment(bare)
    with pytest.raises(PayloadError, match="session: "):
        parse_attachment({**bare, "session": ""}, has_file=True)


def test_repr_hides_keys_urls_and_bytes() -> None:
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
