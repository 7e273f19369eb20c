"""Tokens for one session and links to one content: what opens what, for how long, and what is no pass at all."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.errors import SettingsError
from pipeline.security.tokens import TokenSigner
from tests.support.catalogues import Clock

SECRET = "a token of the tests"
MEDIA = "ab" * 16


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> TokenSigner:
    return TokenSigner(SecretStr(SECRET), clock=clock)


def parts_of(path: str) -> tuple[str, str]:
    query = dict(pair.split("=") for pair in path.partition("?")[2].split("&"))
    return query["expires"], query["signature"]


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_a_token_tells_its_session(session: str) -> None:
    signer = TokenSigner(SecretStr(SECRET))
    assert signer.session_of(signer.session_token(session, days=1)) == session


def test_a_token_ends_with_its_days(signer: TokenSigner, clock: Clock) -> None:
    token = signer.session_token("shop", days=2)
    clock.now += 2 * 86_400 - 1
    assert signer.session_of(token) == "shop"
    clock.now += 1
    assert signer.session_of(token) is None


def test_another_api_token_ends_all_passes(signer: TokenSigner) -> None:
    other = TokenSigner(SecretStr(SECRET + "!"), clock=Clock())
    path, _ = signer.link(MEDIA, seconds=60)
    assert other.session_of(signer.session_token("shop", days=1)) is None
    assert not other.is_valid_link(MEDIA, *parts_of(path))


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
    ],
)
def test_a_token_without_one_of_its_claims_is_none(signer: TokenSigner, claims: dict[str, object]) -> None:
    assert signer.session_of(jwt.encode(claims, signer._token_key, algorithm="HS256")) is None


def test_only_our_algorithm_and_key_make_tokens(signer: TokenSigner) -> None:
    claims = {"session": "shop", "aud": "esteira", "exp": 2_000_000_000}
    whole = jwt.encode(claims, signer._token_key, algorithm="HS256")
    assert signer.session_of(whole) == "shop"
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    unsigned = f"{head}.{whole.split('.')[1]}."
    forged = [
        unsigned,
        jwt.encode(claims, signer._token_key * 2, algorithm="HS512"),
        jwt.encode(claims, SECRET.ljust(32), algorithm="HS256"),
        jwt.encode(claims, signer._link_key, algorithm="HS256"),
        whole[:-2],
        whole + ".x",
        "",
        "x.y.z",
    ]
    assert [signer.session_of(token) for token in forged] == [None] * len(forged)


def test_a_link_opens_what_it_names_until_it_expires(signer: TokenSigner, clock: Clock) -> None:
    path, expires = signer.link(MEDIA, seconds=60)
    assert path.startswith(f"/media/{MEDIA}/content?expires={expires}&")
    given = parts_of(path)
    assert signer.is_valid_link(MEDIA, *given)
    assert not signer.is_valid_link("cd" * 16, *given)
    assert not signer.is_valid_link(MEDIA, str(expires + 1), given[1])
    assert not signer.is_valid_link(MEDIA, given[0], given[1].upper())
    for odd in ("", "-1", "1e9", "٣", "9" * 13, f" {expires}", f"{expires}.0"):
        assert not signer.is_valid_link(MEDIA, odd, given[1])
    for odd in ("", "\udcff", "ä", given[1][:-1]):
        assert not signer.is_valid_link(MEDIA, given[0], odd)
    clock.now += 60
    assert not signer.is_valid_link(MEDIA, *given)


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("short")])
def test_from_an_api_token_that_can_be_guessed_no_pass_is_made(secret: SecretStr | None) -> None:
    with pytest.raises(SettingsError, match="API_TOKEN"):
        TokenSigner(secret)
