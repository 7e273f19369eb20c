"""`esteira start` with its web app: what is handed over by HTTP comes to its end, whoever repeats or forges it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from esteira.cli.demo import pictures
from tests.support.esteira import Site, site, started, wait_for
from tests.support.media_server import MediaServer
from tests.support.valkey import ValkeyServer, free_port

TOKEN = "a token of the tests"


@pytest.fixture
def place(queue: ValkeyServer) -> Iterator[Site]:
    with site(REDIS_URL=queue.url, PORT=str(free_port()), API_TOKEN=TOKEN, WEB_WORKERS="2") as made:
        yield made


def ask(place: Site, path: str, given: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
    """Status and JSON of an answer; what is given is posted."""
    body = None if given is None else json.dumps(given).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{place.env['PORT']}{path}", body)
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, None


def test_a_batch_over_http_is_stored_once_and_counted(place: Site, media: MediaServer) -> None:
    media.files |= {name: pictures.jpeg() for name in "abc"}
    batch = [{"session": "web", "message_id": name, "url": media.url(name), "kind": "image"} for name in media.files]
    with started(place, "--workers", "1"):
        wait_for(lambda: ask(place, "/readyz")[0] == 200)
        assert ask(place, "/hooks/media", batch, token="another")[0] == 401
        answers = [ask(place, "/hooks/media", batch) for _ in range(3)]
        assert [status for status, _ in answers] == [202] * 3
        ids = {tuple(one["id"] for one in answer["accepted"]) for _, answer in answers}
        assert len(ids) == 1
        wait_for(lambda: ask(place, "/stats")[1]["totals"]["done"] == 3)
        assert ask(place, "/hooks/wppconnect", {"event": "onack"})[0] == 401
        totals = ask(place, "/stats")[1]["totals"]
    assert (totals["received"], totals["duplicates"], totals["ignored"]) == (3, 6, 0)
    assert len(place.media()) == 3
    assert [media.hits(name) for name in "abc"] == [1] * 3
