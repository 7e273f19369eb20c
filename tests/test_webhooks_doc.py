"""The receivers in docs/webhooks.md accept what Esteira signs, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.webhooks import EndpointSettings
from pipeline.http_client import HttpClient
from pipeline.http_client.exchanges import PostResult
from pipeline.notifiers.webhooks import Endpoint
from tests.conftest import missing
from tests.support.webhooks import OLDER, SECRET

DOC = (Path(__file__).parent.parent / "docs" / "webhooks.md").read_text()
BODY = '{"caption":"olá 🎧","type":"media.done"}'


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    assert found
    return found[1]


def sent(*secrets: str) -> dict[str, str]:
    """The headers of an event signed with these secrets."""
    caught: dict[str, str] = {}

    class Catching(HttpClient):
        def post(self, url: str, body: bytes, *, headers: Any, timeout_s: float) -> PostResult:
            caught.update(headers)
            return PostResult(204)

    settings = EndpointSettings(name="a", url="http://a.example/", secrets=secrets)  # type: ignore[arg-type]
    Endpoint(settings, Catching(), 1).send("e" * 32, BODY)
    return caught


def in_python(headers: dict[str, str], body: str, secret: str) -> Any:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    return names["event_of"](headers, body.encode(), secret)


def in_node(headers: dict[str, str], body: str, secret: str) -> Any:
    node = shutil.which("node") or ""
    if not node:
        missing("node")
    asking = f"const g = {json.dumps([headers, body, secret])};\n"
    asking += "console.log(JSON.stringify(eventOf(g[0], Buffer.from(g[1]), g[2])));"
    program = block("javascript") + asking
    done = subprocess.run(
        [node, "--input-type=module", "-e", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("event_of", [in_python, in_node])
def test_documented_receivers_accept_only_signed_events(event_of: Callable[..., Any]) -> None:
    event = json.loads(BODY)
    both = sent(SECRET, OLDER)
    assert event_of(sent(SECRET), BODY, SECRET) == event
    assert event_of(both, BODY, OLDER) == event
    assert event_of(sent(SECRET), BODY, OLDER) is None
    assert event_of(sent(SECRET), BODY + " ", SECRET) is None
    assert event_of({**both, "webhook-timestamp": str(int(time.time()) - 1000)}, BODY, SECRET) is None
    assert event_of({**both, "webhook-id": "f" * 32}, BODY, SECRET) is None
