"""No secret reaches a log or Sentry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from actors.observability.logging import HIDDEN, configure_observability, scrubber
from pipeline.config.settings import load_settings

SCRUB = scrubber(["hunter2hunter2"])


@pytest.mark.parametrize(
    "name", ["media_key", "mediaKey", "api_token", "Authorization", "password", "data", "X-Api-Key"]
)
def test_a_telling_name_hides_its_value(name: str) -> None:
    assert SCRUB({"outer": [{name: "abc"}]}) == {"outer": [{name: HIDDEN}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://host/p?oh=SIG&oe=1 failed", f"GET https://host/p?{HIDDEN} failed"),
        ("redis://:pass@host:6379/0 away", "redis://host:6379/0 away"),
        ("https://user:pw@host/p?x=1", f"https://host/p?{HIDDEN}"),
        ("the password is hunter2hunter2.", f"the password is {HIDDEN}."),
        ("what? nothing", "what? nothing"),
        ("POST /hooks/wppconnect/guessed HTTP/1.1", f"POST /hooks/wppconnect/{HIDDEN} HTTP/1.1"),
        ("http://h:1/hooks/wppconnect/a%2Fb/c?d=e", f"http://h:1/hooks/wppconnect/{HIDDEN}"),
        ("GET /hooks/cloud?hub.verify_token=abc", f"GET /hooks/cloud?{HIDDEN}"),
        ("POST /hooks/media, refused", "POST /hooks/media, refused"),
    ],
)
def test_text_loses_logins_queries_and_known_secrets(text: str, shown: str) -> None:
    assert SCRUB(text) == shown


@given(st.text(alphabet="abcXYZ019=&%_-", min_size=1, max_size=40))
def test_no_query_of_any_url_survives(query: str) -> None:
    assert f"?{query}" not in SCRUB(f"see https://h.example/a/b?{query} and so on")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_scrubbing_keeps_the_shape(value: Any) -> None:
    shown = SCRUB({"value": value})
    assert type(shown["value"]) is type(value) or shown["value"] == HIDDEN


def test_a_log_line_is_json_off_a_terminal_and_holds_no_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configure_observability(
        load_settings(_env_file=None, var_dir=tmp_path, api_token="hunter2hunter2", log_format="json")
    )
    try:
        structlog.get_logger().warning("it happened", url="https://h/p?sig=1", note="hunter2hunter2", media_key="k")
    finally:
        structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("it happened", "warning")
    assert (line["url"], line["note"], line["media_key"]) == (f"https://h/p?{HIDDEN}", HIDDEN, HIDDEN)
