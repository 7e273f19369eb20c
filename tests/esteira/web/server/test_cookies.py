"""Cookies whose parsing takes long do not reach the parser, and the others do."""

from __future__ import annotations

from http import cookies
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from esteira.web.app import build_app
from esteira.web.dashboard.view import LANGUAGE_COOKIE
from esteira.web.server.cookies import plain_cookies
from pipeline.config.settings import load_settings

SLOW = 'slow="' + "\\" * 15_000 + '"'


def test_cookies_with_a_backslash_are_removed() -> None:
    headers = [(b"host", b"a\\b"), (b"cookie", b'a=1; b="\\""; c=3'), (b"cookie", b"d=\\"), (b"cookie", b"e")]
    expected = [(b"host", b"a\\b"), (b"cookie", b"a=1; c=3"), (b"cookie", b""), (b"cookie", b"e")]
    assert plain_cookies(headers) == expected


@pytest.mark.parametrize("path", ["/healthz", "/login", "/", "/docs", "/media", "/_nicegui/x", "/openapi.json"])
def test_no_backslash_is_unquoted_for_any_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str) -> None:
    unquoted = []
    monkeypatch.setattr(cookies, "_unquote", lambda text: unquoted.append(text) or text)
    settings = load_settings(_env_file=None, var_dir=tmp_path, api_token="token-for-cookies-0123456789")
    client = TestClient(build_app(settings))
    client.get(path, headers={"Cookie": f"{SLOW}; {LANGUAGE_COOKIE}=pt-BR"}, follow_redirects=False)
    assert [text for text in unquoted if "\\" in text] == []


def test_the_other_cookies_of_such_a_request_are_used(tmp_path: Path) -> None:
    settings = load_settings(_env_file=None, var_dir=tmp_path, api_token="token-for-cookies-0123456789")
    page = TestClient(build_app(settings)).get("/login", headers={"Cookie": f"{SLOW}; {LANGUAGE_COOKIE}=pt-BR"})
    assert 'lang="pt-BR"' in page.text
