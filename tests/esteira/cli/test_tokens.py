"""`esteira token` and `esteira link`."""

from __future__ import annotations

import json
import time

from pydantic import SecretStr

from pipeline.security.tokens import TokenSigner
from tests.support.esteira import Installation

TOKEN = "a token of the tests"
UNKNOWN = "0" * 32


def test_token_is_valid_for_its_session_and_days(installation: Installation) -> None:
    secured = installation.with_settings(API_TOKEN=TOKEN)
    finished = secured.run("token", "shop", "--gateway", "waha", "--days", "2")
    token = TokenSigner(SecretStr(TOKEN)).read(finished.out.strip())
    assert token
    assert (token.session, token.gateway) == ("shop", "waha")
    assert f"id {token.id}, gateway waha" in finished.err
    assert TokenSigner(SecretStr(TOKEN), clock=lambda: time.time() + 2 * 86_400).read(finished.out.strip()) is None
    everywhere = secured.run("token", "shop", "--gateway", "*").out.strip()
    token = TokenSigner(SecretStr(TOKEN)).read(everywhere)
    assert token
    assert (token.gateway, token.is_legacy) == (None, False)


def test_token_takes_the_only_gateway_of_its_session_and_asks_for_it_otherwise(installation: Installation) -> None:
    secured = installation.with_settings(API_TOKEN=TOKEN)
    refused = secured.run("token", "default")
    assert (refused.code, refused.out) == (2, "")
    assert "--gateway" in refused.err
    secured.run("submit", "http://127.0.0.1:9/file", "--session", "default", "--json")
    token = TokenSigner(SecretStr(TOKEN)).read(secured.run("token", "default").out.strip())
    assert token
    assert token.gateway == secured.run("list", "--json").json[0]["gateway"]


def test_link_is_valid_for_its_attachment_and_seconds(installation: Installation) -> None:
    secured = installation.with_settings(API_TOKEN=TOKEN)
    media_id = json.loads(secured.run("submit", "http://127.0.0.1:9/file", "--json").out)["id"]
    link = json.loads(secured.run("link", media_id, "--seconds", "9", "--base", "https://m.example/", "--json").out)
    path, _, query = link["url"].partition("?")
    assert path == f"https://m.example/media/{media_id}/content"
    assert 0 < link["expires"] - time.time() <= 9
    assert TokenSigner(SecretStr(TOKEN)).is_valid_link(media_id, str(link["expires"]), query.rpartition("=")[2])
    assert secured.run("link", media_id).out.startswith("http://127.0.0.1:")


def test_missing_api_token_and_unknown_id_are_reported(installation: Installation) -> None:
    for arguments, code, setting in (
        (("token", "shop", "--gateway", "waha"), 2, "API_TOKEN"),
        (("link", UNKNOWN), 2, "API_TOKEN"),
    ):
        finished = installation.run(*arguments)
        assert (finished.code, finished.out) == (code, "")
        assert setting in finished.err
    secured = installation.with_settings(API_TOKEN=TOKEN)
    assert secured.run("link", UNKNOWN).code == 1
    assert secured.run("token", " ").code == 2
