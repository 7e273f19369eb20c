"""Session tokens and content links: scope, expiry and refusal of forged ones."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.errors import SettingsError
from pipeline.security.callers import Caller
from pipeline.security.roles import Role
from pipeline.security.tokens import LEGACY, TokenSigner, is_session_token_id
from tests.support.catalogues import Clock

SECRET = "a token of the tests"
MEDIA = "ab" * 16
ANA = Caller("ana", Role.VIEWER, token_id="0123456789ab")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> TokenSigner:
    return TokenSigner(SecretStr(SECRET), clock=clock)


def parts_of(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(path.partition("?")[2]).items()}


def is_valid(signer: TokenSigner, path: str, **changed: str) -> bool:
    return signer.is_valid_link(**{"media_id": MEDIA, **parts_of(path), **changed})  # type: ignore[arg-type]


def forge(signer: TokenSigner, claims: dict[str, Any]) -> str:
    return jwt.encode(claims, signer._token_key, algorithm="HS256")


@given(st.text(min_size=1), st.none() | st.text(min_size=1))
def test_session_token_contains_its_session_and_gateway(session: str, gateway: str | None) -> None:
    signer = TokenSigner(SecretStr(SECRET))
    text = signer.session_token(session, gateway=gateway, days=1)
    token = signer.read(text)
    assert token
    assert (token.session, token.gateway, token.is_legacy) == (session, gateway, False)
    assert is_session_token_id(token.id)


def test_session_token_expires_after_its_days(signer: TokenSigner, clock: Clock) -> None:
    token = signer.session_token("shop", gateway="waha", days=2)
    clock.now += 2 * 86_400 - 1
    assert signer.read(token)
    clock.now += 1
    assert signer.read(token) is None


def test_each_session_token_has_its_own_id(signer: TokenSigner) -> None:
    tokens = [signer.read(signer.session_token("shop", gateway="waha", days=1)) for _ in range(9)]
    assert len({token.id for token in tokens if token}) == 9


def test_token_of_an_older_version_names_no_gateway_and_has_a_stable_id(signer: TokenSigner) -> None:
    old = forge(signer, {"session": "shop", "aud": "esteira", "exp": 2_000_000_000})
    token = signer.read(old)
    assert token
    assert token == signer.read(old)
    assert (token.session, token.gateway, token.is_legacy) == ("shop", None, True)
    assert token.id.startswith(LEGACY)
    assert is_session_token_id(token.id)


def test_new_api_token_invalidates_tokens_and_links(signer: TokenSigner) -> None:
    other = TokenSigner(SecretStr(SECRET + "!"), clock=Clock())
    path, _ = signer.link(MEDIA, seconds=60)
    assert other.read(signer.session_token("shop", gateway="media", days=1)) is None
    assert not is_valid(other, path)


@pytest.mark.parametrize(
    "claims",
    [
        {"session": "shop", "aud": "esteira"},
        {"session": "shop", "exp": 2_000_000_000},
        {"session": "shop", "aud": "elsewhere", "exp": 2_000_000_000},
        {"aud": "esteira", "exp": 2_000_000_000},
        {"session": "", "aud": "esteira", "exp": 2_000_000_000},
        {"session": ["shop"], "aud": "esteira", "exp": 2_000_000_000},
        {"session": None, "aud": "esteira", "exp": 2_000_000_000},
        {"session": "shop", "aud": "esteira", "exp": "2000000000"},
        {"session": "shop", "gateway": ["waha"], "aud": "esteira", "exp": 2_000_000_000},
        {"session": "shop", "gateway": "waha", "jti": 7, "aud": "esteira", "exp": 2_000_000_000},
        {"session": "shop", "gateway": "waha", "jti": "login:x", "aud": "esteira", "exp": 2_000_000_000},
        # With the form of a user's id it would escape the list of revoked session tokens.
        {"session": "shop", "gateway": "waha", "jti": "0123456789ab", "aud": "esteira", "exp": 2_000_000_000},
    ],
)
def test_token_with_missing_or_invalid_claims_is_refused(signer: TokenSigner, claims: dict[str, object]) -> None:
    assert signer.read(forge(signer, claims)) is None


def test_token_with_another_algorithm_or_key_is_refused(signer: TokenSigner) -> None:
    claims = {"session": "shop", "aud": "esteira", "exp": 2_000_000_000}
    valid = forge(signer, claims)
    assert signer.read(valid)
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    unsigned = f"{head}.{valid.split('.')[1]}."
    forged = [
        unsigned,
        jwt.encode(claims, signer._token_key * 2, algorithm="HS512"),
        jwt.encode(claims, SECRET.ljust(32), algorithm="HS256"),
        jwt.encode(claims, signer._link_key, algorithm="HS256"),
        valid[:-2],
        valid + ".x",
        "",
        "x.y.z",
        "é.é.é",
        "." * 9000,
    ]
    assert [signer.read(token) for token in forged] == [None] * len(forged)


def test_link_is_valid_for_its_content_until_it_expires(signer: TokenSigner, clock: Clock) -> None:
    path, expires = signer.link(MEDIA, seconds=60)
    assert path.startswith(f"/media/{MEDIA}/content?expires={expires}&")
    signature = parts_of(path)["signature"]
    assert is_valid(signer, path)
    assert not is_valid(signer, path, media_id="cd" * 16)
    assert not is_valid(signer, path, expires=str(expires + 1))
    assert not is_valid(signer, path, signature=signature.upper())
    assert not is_valid(signer, path, by="0123456789ab")
    for invalid in ("", "-1", "1e9", "٣", "9" * 13, f" {expires}", f"{expires}.0"):
        assert not is_valid(signer, path, expires=invalid)
    for invalid in ("", "\udcff", "ä", signature[:-1]):
        assert not is_valid(signer, path, signature=invalid)
    clock.now += 60
    assert not is_valid(signer, path)


def test_link_carries_the_id_of_its_token_and_ends_with_it(signer: TokenSigner, clock: Clock) -> None:
    path, expires = signer.link(MEDIA, seconds=60, caller=ANA)
    assert (parts_of(path)["by"], expires) == (ANA.token_id, int(clock.now) + 60)
    assert is_valid(signer, path)
    for changed in ("", "0123456789ac", "0123456789ab\n", "A" * 12):
        assert not is_valid(signer, path, by=changed)
    short = Caller("ana", Role.VIEWER, token_id=ANA.token_id, expires=int(clock.now) + 9)
    assert signer.link(MEDIA, seconds=60, caller=short)[1] == int(clock.now) + 9


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("short")])
def test_signer_refuses_a_missing_or_short_api_token(secret: SecretStr | None) -> None:
    with pytest.raises(SettingsError, match="API_TOKEN"):
        TokenSigner(secret)
