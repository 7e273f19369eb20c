"""No secret reaches a log or Sentry."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from actors.observability.logging import configure_observability
from pipeline.config.settings import load_settings
from pipeline.scrubber import HIDDEN, MAX_NAME, MAX_TEXT, Scrubber

SCRUB = Scrubber(["hunter2hunter2hunter2"])


@pytest.mark.parametrize(
    "name", ["media_key", "mediaKey", "api_token", "Authorization", "password", "data", "X-Api-Key"]
)
def test_value_under_a_secret_name_is_hidden(name: str) -> None:
    assert SCRUB({"outer": [{name: "abc"}]}) == {"outer": [{name: HIDDEN}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://host/p?oh=SIG&oe=1 failed", f"GET https://host/p?{HIDDEN} failed"),
        ("redis://:pass@host:6379/0 away", "redis://host:6379/0 away"),
        ("redis://:p@ss#word@host:6379/0 away", "redis://host:6379/0 away"),
        ("https://user:pw@host/p?x=1", f"https://host/p?{HIDDEN}"),
        ("http://a/?b=1 and http://c/?d=2", f"http://a/?{HIDDEN} and http://c/?{HIDDEN}"),
        ("http://h/go?to=http://u:p@i/?k=1", f"http://h/go?{HIDDEN}"),
        ("mail to a@b about https://host/p", "mail to a@b about https://host/p"),
        ("the password is hunter2hunter2hunter2.", f"the password is {HIDDEN}."),
        ("what? nothing", "what? nothing"),
        ("POST /hooks/wppconnect/guessed HTTP/1.1", f"POST /hooks/wppconnect/{HIDDEN} HTTP/1.1"),
        ("http://h:1/hooks/wppconnect/a%2Fb/c?d=e", f"http://h:1/hooks/wppconnect/{HIDDEN}"),
        ("GET /hooks/cloud?hub.verify_token=abc", f"GET /hooks/cloud?{HIDDEN}"),
        ("POST /hooks/media, refused", "POST /hooks/media, refused"),
    ],
)
def test_logins_queries_and_known_secrets_are_removed_from_text(text: str, expected: str) -> None:
    assert SCRUB(text) == expected


@given(st.text(alphabet="abcXYZ019=&%_-", min_size=1, max_size=40))
def test_query_of_any_url_is_removed(query: str) -> None:
    assert f"?{query}" not in SCRUB(f"see https://h.example/a/b?{query} and so on")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_scrubbing_keeps_the_types(value: Any) -> None:
    scrubbed = SCRUB({"value": value})
    assert type(scrubbed["value"]) is type(value) or scrubbed["value"] == HIDDEN


@pytest.mark.parametrize("part", ["a", "://", "://a@", "a/", "/hooks/", "/hooks/a", "?", "://a?b ", "hunter2"])
def test_scrubbing_a_long_text_takes_linear_time(part: str) -> None:
    began = time.perf_counter()
    SCRUB(part * (1_000_000 // len(part)) + "://")
    assert time.perf_counter() - began < 5  # quadratic time would be minutes


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[None]:
    configure_observability(
        load_settings(_env_file=None, var_dir=tmp_path, api_token="hunter2hunter2hunter2", log_format="json")
    )
    yield
    structlog.reset_defaults()


def test_our_log_lines_are_scrubbed_json(capsys: pytest.CaptureFixture[str], configured: None) -> None:
    structlog.get_logger().warning("it happened", url="https://h/p?sig=1", note="hunter2hunter2hunter2", media_key="k")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("it happened", "warning")
    assert (line["url"], line["note"], line["media_key"]) == (f"https://h/p?{HIDDEN}", HIDDEN, HIDDEN)


def test_log_lines_of_libraries_are_scrubbed_json(capsys: pytest.CaptureFixture[str], configured: None) -> None:
    logging.getLogger("library").warning("cannot open %s with %s", "https://h/p?sig=1", "hunter2hunter2hunter2")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == f"cannot open https://h/p?{HIDDEN} with {HIDDEN}"
    assert list(line) == ["event", "level", "timestamp"]


def test_long_text_is_cut() -> None:
    scrubbed = SCRUB({"mimetype": "x" * 10 * MAX_TEXT})
    assert scrubbed == {"mimetype": "x" * (MAX_TEXT - 1) + "…"}


def test_value_under_a_very_long_name_is_hidden() -> None:
    assert SCRUB({"x" * 100_000: "abc", "y" * MAX_NAME: "abc"}) == {"x" * 100_000: HIDDEN, "y" * MAX_NAME: "abc"}


def test_deep_value_is_cut_off() -> None:
    deep: Any = "abc"
    for _ in range(100_000):
        deep = [deep]
    assert "abc" not in json.dumps(SCRUB({"deep": deep}))


def test_longer_secret_is_replaced_before_one_that_it_contains() -> None:
    assert Scrubber(["secret", "secret-of-ours"])("a secret-of-ours and a secret") == f"a {HIDDEN} and a {HIDDEN}"
