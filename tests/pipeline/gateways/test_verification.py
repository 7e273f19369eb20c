"""Verification of secrets and signatures, as the gateways' hooks share it."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.errors import Code
from pipeline.gateways import HookRequest, NoSecretError, UnauthorizedError, verification
from pipeline.gateways.verification import (
    BodySignature,
    bearer_token,
    check_secret,
    constant_time_equal,
    has_hmac,
    required_secret,
)

# RFC 4231, test case 2, whose key is text.
JEFE = b"what do ya want for nothing?"
SHA256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
SHA512 = (
    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b"
    "636e070a38bce737"
)


def check(body: bytes, signature: str, *, key: str = "Jefe", digest: Any = "sha256") -> None:
    """Checks a signature as a gateway's hook does: first its form, then the body."""
    BodySignature("X-Sig", "SIG_KEY", digest).check(HookRequest({"x-sig": signature}), SecretStr(key))(body)


@pytest.mark.parametrize(("digest", "signature"), [("sha256", SHA256), ("sha512", SHA512)])
def test_published_signatures_are_accepted(digest: str, signature: str) -> None:
    """RFC 4231, test case 2."""
    check(JEFE, signature, digest=digest)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        SHA256[:-1],
        SHA256[:32],
        SHA256 + "0",
        SHA256.upper(),
        f" {SHA256}",
        f"sha256={SHA256}",
        f"sha1={SHA256}",
        SHA512,
        SHA256[:-1] + "4",
        "é" * 64,
        "\udcff" * 64,
    ],
)
def test_another_signature_is_refused(signature: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        check(JEFE, signature)
    assert (caught.value.code, caught.value.reason) == (Code.UNAUTHORIZED, "wrong" if signature else "missing")
    assert "X-Sig" in caught.value.message
    assert not signature or signature not in str(caught.value)
    assert SHA256 not in str(caught.value)


@pytest.mark.parametrize("body", [b"", JEFE[:-1], JEFE + b" ", JEFE.upper(), b'{"a": 1}'])
def test_signature_of_another_body_or_key_is_refused(body: bytes) -> None:
    for refused_body, key in ((body, "Jefe"), (JEFE, "jefe")):
        with pytest.raises(UnauthorizedError, match="SIG_KEY") as caught:
            check(refused_body, SHA256, key=key)
        assert caught.value.reason == "wrong"


@pytest.mark.parametrize(
    "body", [b'{"text":"ol\\u00e1"}', '{"text":"olá"}'.encode(), b'{ "text" : "ol\xc3\xa1" }', b"\xff\0"]
)
def test_signature_is_verified_over_the_raw_bytes(body: bytes) -> None:
    """HOOK-02: the same JSON in another spelling has another signature."""
    signature = hmac.digest(b"key", body, "sha256").hex()
    check(body, signature, key="key")
    for other in (b'{"text": "ol\\u00e1"}', body + b"\n"):
        with pytest.raises(UnauthorizedError):
            check(other, signature, key="key")


@given(st.text(max_size=20), st.text(max_size=20))
def test_constant_time_equal_agrees_with_equality(first: str, second: str) -> None:
    first, second = (text.encode("utf-8", "replace").decode() for text in (first, second))
    assert constant_time_equal(first, second) is (first == second)
    assert constant_time_equal(first, first)


@pytest.mark.parametrize("secret", ["sécret", "\udcc3\udca9", "秘密"])
def test_constant_time_equal_accepts_any_characters(secret: str) -> None:
    assert constant_time_equal(secret, secret)
    assert constant_time_equal("\udcc3\udca9", "é")  # as undecoded bytes
    assert not constant_time_equal(secret, "secret")


def test_comparisons_use_compare_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(
        verification.hmac, "compare_digest", lambda first, second: compared.append((first, second)) or False
    )
    assert not constant_time_equal("a", "b")
    assert not has_hmac(JEFE, SHA256, key="Jefe", digest="sha256")
    assert compared == [(b"a", b"b"), (SHA256.encode(), SHA256.encode())]


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER  abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic abc", ""),
        ("abc", ""),
        ("", ""),
        (" Bearer abc", ""),
    ],
)
def test_bearer_token_is_read_from_the_header(header: str, token: str) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize("unset", [None, SecretStr("")])
def test_secret_that_is_not_set_is_named_by_its_setting(
    unset: SecretStr | None,
) -> None:
    with pytest.raises(NoSecretError) as caught:
        required_secret(unset, "WAHA_HMAC_KEY")
    assert (caught.value.setting, caught.value.code) == ("WAHA_HMAC_KEY", Code.UNAUTHORIZED)
    assert "WAHA_HMAC_KEY is not set" in caught.value.message
    assert caught.value.reason == "not_set"


def test_required_secret_returns_its_value() -> None:
    assert required_secret(SecretStr("s"), "ANY") == "s"


@pytest.mark.parametrize(
    ("sent", "reason", "named", "unnamed"),
    [
        ({"X-A": "", "X-B": ""}, "missing", ("X-A", "X-B"), ()),
        ({"X-A": "guess", "X-B": ""}, "wrong", ("X-A",), ("X-B",)),
        ({"X-A": "guess", "X-B": "other"}, "wrong", ("X-A", "X-B"), ()),
    ],
)
def test_missing_and_wrong_secret_are_told_apart_and_not_repeated(
    sent: dict[str, str], reason: str, named: tuple[str, ...], unnamed: tuple[str, ...]
) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        check_secret(sent, SecretStr("the right one"), "THE_SETTING")
    message = caught.value.message
    assert caught.value.reason == reason
    assert "THE_SETTING" in message
    assert all(name in message for name in named)
    assert not any(text in message for text in (*unnamed, "guess", "other", "the right one"))


def test_secret_is_accepted_in_any_of_its_places() -> None:
    check_secret({"X-A": "guess", "X-B": "the right one"}, SecretStr("the right one"), "THE_SETTING")
