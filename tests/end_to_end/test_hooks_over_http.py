"""`esteira start` with its web app: attachments from HTTP hooks are processed once."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from esteira.cli.demo import pictures
from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.media_server import MediaServer
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

TOKEN = "a token of the tests"


@pytest.fixture
def installation(module_valkey: ValkeyServer) -> Iterator[Installation]:
    with new_installation(REDIS_URL=module_valkey.url, PORT=str(free_port()), API_TOKEN=TOKEN, WEB_WORKERS="2") as made:
        yield made


def ask(installation: Installation, path: str, given: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
    """The status and JSON of a response. With `given` the request is a POST.

    `esteira start` holds the socket, so that a request waits until the web app answers.
    """
    body = None if given is None else json.dumps(given).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{installation.env['PORT']}{path}", body)
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, None


def test_batch_over_http_is_stored_once_and_counted(installation: Installation, media: MediaServer) -> None:
    media.files |= {name: pictures.jpeg() for name in "abc"}
    batch = [{"session": "web", "message_id": name, "url": media.url(name), "kind": "image"} for name in media.files]
    with start_esteira(installation, "--workers", "1"):
        wait_until(lambda: ask(installation, "/readyz")[0] == 200)
        assert ask(installation, "/hooks/media", batch, token="another")[0] == 401
        answers = [ask(installation, "/hooks/media", batch) for _ in range(3)]
        assert [status for status, _ in answers] == [202] * 3
        ids = {tuple(one["id"] for one in answer["accepted"]) for _, answer in answers}
        assert len(ids) == 1
        wait_until(lambda: ask(installation, "/stats")[1]["totals"]["done"] == 3)
        assert ask(installation, "/hooks/wppconnect", {"event": "onack"}, token="another")[0] == 401
        totals = ask(installation, "/stats")[1]["totals"]
    assert (totals["received"], totals["duplicates"], totals["ignored"]) == (3, 6, 0)
    assert len(installation.stored_files()) == 3
    assert [media.hits(name) for name in "abc"] == [1] * 3
