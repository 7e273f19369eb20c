"""FETCH_PROXY: its forms, its mistakes, and its secrets."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.proxies import Proxy, parse_proxies
from pipeline.config.settings import load_settings
from pipeline.errors import SettingsError

PASSWORD = "a-long-password"


@pytest.mark.parametrize(
    ("text", "proxies"),
    [
        ("http://proxy.example:3128", {"*": Proxy("http", "proxy.example", 3128)}),
        (
            " mmg.whatsapp.net = socks5h://10.0.0.5:1080 , *.WhatsApp.net=https://[fd00::1]:443/,*=direct,",
            {
                "mmg.whatsapp.net": Proxy("socks5h", "10.0.0.5", 1080),
                "*.whatsapp.net": Proxy("https", "fd00::1", 443),
                "*": None,
            },
        ),
        (
            "*=socks5://maria:p%C3%A4ss%2Cword%40x@proxy.example:1080",
            {"*": Proxy("socks5", "proxy.example", 1080, "maria", "päss,word@x")},
        ),
        ("http://token:@proxy.example:80", {"*": Proxy("http", "proxy.example", 80, "token", "")}),
        ("http://u:a=b@proxy.example:80", {"*": Proxy("http", "proxy.example", 80, "u", "a=b")}),
        ("", {}),
    ],
)
def test_proxies_are_read(text: str, proxies: dict[str, Proxy | None]) -> None:
    assert parse_proxies(text) == proxies


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"ftp://u:{PASSWORD}@proxy:21", "entry 1 of 1 has none of the schemes http, https, socks5, socks5h"),
        (f"*=socks4://u:{PASSWORD}@proxy:1080", "has none of the schemes"),
        (f"http://u:{PASSWORD}@proxy", "has no port"),
        (f"http://u:{PASSWORD}@proxy:0", "has no port"),
        (f"http://u:{PASSWORD}@proxy:99999", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}/x@proxy:3128", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}#@proxy:3128", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}@proxy:3128/path", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}@proxy:3128?x", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}@pro xy:3128", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}@[::1", "is not the URL of a proxy"),
        (f"http://u:{PASSWORD}@[v1.x]:80", "is not the URL of a proxy"),
        (f"http://:{PASSWORD}@proxy:3128", "has no valid login"),
        (f"http://u%3Ax:{PASSWORD}@proxy:3128", "has no valid login"),
        (f"http://u:{PASSWORD}{'x' * 250}@proxy:3128", "has no valid login"),
        ("socks5://u@proxy:1080", "has no valid login"),
        (f"http://a:80,http://u:{PASSWORD}@proxy:3128", "entry 2 of 2 is the second proxy of *"),
        (f"bad_host!=http://u:{PASSWORD}@proxy:3128", "does not begin with a host"),
        (f"*.*=http://u:{PASSWORD}@proxy:3128", "does not begin with a host"),
        (f"u:{PASSWORD}@proxy:3128", "does not begin with a host"),
        ("proxy.example:3128", "does not begin with a host"),
        (f"*={PASSWORD}", "has none of the schemes"),
        ("*=", "has none of the schemes"),
    ],
)
def test_wrong_value_is_named_without_its_password(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCH_PROXY", text)
    with pytest.raises(SettingsError) as error:
        load_settings(_env_file=None)
    assert error.value.message.startswith("FETCH_PROXY: ")
    assert words in error.value.message
    assert PASSWORD not in str(error.value)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_without_showing_it(text: str) -> None:
    try:
        parse_proxies(text)
    except ValueError as error:
        assert len(text) < 12 or text not in str(error)  # noqa: PT017


def test_proxy_without_a_login_is_no_secret() -> None:
    value = "*.whatsapp.net=socks5://proxy.example:1080,*=direct"
    assert "proxy.example" not in "".join(load_settings(_env_file=None, fetch_proxy=value).secrets())


def test_login_is_a_secret_in_every_form() -> None:
    value = "*=http://maria:p%C3%A4ss-word@proxy.example:3128,x.example=socks5://other:second-word@proxy.example:1080"
    settings = load_settings(_env_file=None, fetch_proxy=value)
    sent = base64.b64encode("maria:päss-word".encode()).decode()
    secrets = {"päss-word", "maria:päss-word", sent, "maria:p%C3%A4ss-word", "second-word", "other:second-word"}
    assert secrets <= set(settings.secrets())
    shown = f"{settings!r} {settings.model_dump()} {settings.fetch_proxies}"
    assert all(secret not in shown for secret in secrets)
    assert "maria" not in shown
    assert {str(proxy.name) for proxy in settings.fetch_proxies.values() if proxy} == {
        "http://proxy.example:3128",
        "socks5://proxy.example:1080",
    }
