"""The web app: what hooks accept and refuse, and what is durable when they answer."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from pydantic import SecretStr
from structlog.testing import capture_logs

from actors.observability.worker_info import WorkerIdentity
from actors.redis_queue.queue import open_queue
from pipeline.catalogue import CatalogueError
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import Code, PipelineError, RetryableError, SettingsError
from pipeline.services import build_services
from tests.support.valkey import ValkeyServer

TOKEN = "a token of the tests"
GOOD = {"session": "s", "message_id": "m1", "url": "http://127.0.0.1:9/file", "kind": "image"}


@pytest.fixture
def settings(valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    given = {"VAR_DIR": str(tmp_path), "REDIS_URL": valkey.url, "API_TOKEN": TOKEN, "MAX_BODY_MB": "0.01"}
    given["DASHBOARD"] = "false"
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    forget()
    made = current_settings()
    build_services(made).catalogue.migrate()
    yield made
    forget()


def forget() -> None:
    """Clears the caches, as in a process that has not read its settings yet."""
    from actors import hook
    from actors.redis_queue import queue
    from pipeline import services

    for made_once in (current_settings, services._services_of, hook._hook_of, queue._queue_of):
        made_once.cache_clear()


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    from esteira.web.app import build_app

    with TestClient(build_app(settings), headers={"Authorization": f"Bearer {TOKEN}"}) as made:
        yield made


def test_without_its_extra_the_dashboard_is_left_out_and_the_log_says_so_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from esteira.web.app import build_app
    from esteira.web.dashboard import routes

    monkeypatch.setattr(routes, "is_installed", lambda extra: extra != "dashboard")
    with capture_logs() as lines, TestClient(build_app(settings.model_copy(update={"dashboard": True}))) as app:
        assert app.get("/login").status_code == 404
        assert app.post("/hooks/media", json=GOOD, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 202
    remedies = [line["remedy"] for line in lines if line["event"].startswith("no dashboard: the extra `dashboard`")]
    assert remedies == ["pip install 'esteira[dashboard]'; 'esteira[all]' has every extra"]


def test_hook_accepts_one_attachment(client: TestClient) -> None:
    answer = client.post("/hooks/media", json=GOOD)
    assert answer.status_code == 202
    [accepted] = answer.json()["accepted"]
    assert answer.json()["ignored"] == 0
    assert set(accepted) == {"id", "message_id", "status"}
    assert (accepted["message_id"], accepted["status"], len(accepted["id"])) == ("m1", "received", 32)


def test_hook_accepts_a_list_in_order(client: TestClient) -> None:
    answer = client.post("/hooks/media", json=[GOOD | {"message_id": name} for name in "abc"])
    assert [one["message_id"] for one in answer.json()["accepted"]] == ["a", "b", "c"]


def test_hook_answers_a_repeat_with_the_same_id(client: TestClient) -> None:
    ids = {client.post("/hooks/media", json=GOOD).json()["accepted"][0]["id"] for _ in range(3)}
    assert len(ids) == 1
    assert client.get("/stats").json()["totals"]["received"] == 1


def test_workers_lists_worker_processes(client: TestClient, settings: Settings) -> None:
    assert client.get("/workers").json() == {"workers": []}
    queue = open_queue(settings)
    said = WorkerIdentity(threads=4, queues=["fetch"]).current_info(sandbox_deaths=0)
    queue.heartbeat("w", silence_ms=60_000, info=said.model_dump_json())
    [worker] = client.get("/workers").json()["workers"]
    assert (worker["id"], worker["pid"], worker["alive"], worker["running"]) == ("w", said.pid, True, [])
    queue.client.close()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer é",
    ],
)
@pytest.mark.parametrize("path", ["/hooks/media", "/stats", "/workers"])
def test_calls_without_the_token_answer_401(client: TestClient, header: str | None, path: str) -> None:
    client.headers.pop("Authorization")
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    method = "POST" if path.startswith("/hooks") else "GET"
    answer = client.request(method, path, headers=headers, content=json.dumps(GOOD) if method == "POST" else None)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_server_without_api_token_refuses_hooks_and_logs_the_setting(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    from esteira.web.app import build_app

    with TestClient(build_app(settings.model_copy(update={"api_token": None}))) as client:
        for value in ("Bearer ", "Bearer None", ""):
            assert client.post("/hooks/media", json=GOOD, headers={"Authorization": value}).status_code == 401
    assert capsys.readouterr().err.count("API_TOKEN") == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"session": NaN}', "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"7", "an attachment is a JSON object"),
        (b"[]", "1 to 1000 attachments"),
        (b"{}", "session: is missing, and DEFAULT_SESSION is not set"),
        (json.dumps([GOOD, {**GOOD, "kind": "song"}]).encode(), "[1] kind: "),
        (json.dumps({**GOOD, "url": None}).encode(), "url: one of url, data"),
        (json.dumps({**GOOD, "url": None, "data": "*"}).encode(), "data: is not base64"),
        (json.dumps([GOOD, {**GOOD, "url": None, "data": "*"}]).encode(), "[1] data: is not base64"),
    ],
)
def test_bad_body_is_refused_as_a_whole_with_a_reason(client: TestClient, body: bytes, message: str) -> None:
    answer = client.post("/hooks/media", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_payload"
    assert message in answer.json()["error"]["message"]
    assert client.get("/stats").json()["totals"]["received"] == 0


@pytest.mark.parametrize(("field", "name"), [("session", "session"), ("id", "message_id"), ("from", "chat")])
def test_identifier_of_a_gateway_that_cannot_be_stored_answers_400(settings: Settings, field: str, name: str) -> None:
    from esteira.web.app import build_app

    message = {"event": "onmessage", "session": "shop", "id": "3EB0", "from": "5581@c.us", "type": "image"}
    secret = {"wppconnect_secret": SecretStr("a secret of the tests")}
    with TestClient(build_app(settings.model_copy(update=secret))) as client:
        for wrong in ("a\0b", "a\ud800b"):
            body = json.dumps({**message, field: wrong})
            answer = client.post("/hooks/wppconnect/a secret of the tests", content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"] == f"{name}: must not contain NUL or a lone surrogate"


def test_too_large_body_is_refused_with_and_without_content_length(client: TestClient) -> None:
    large = json.dumps({**GOOD, "caption": "x" * 20_000}).encode()

    def in_pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    for content in (large, in_pieces()):
        answer = client.post("/hooks/media", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
        assert answer.json()["error"]["message"].endswith("bytes (MAX_BODY_MB)")


def test_inline_bytes_are_in_storage_before_the_answer(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    row: dict[str, Any] = {**GOOD, "url": None, "data": base64.b64encode(b"content").decode()}
    media_id = client.post("/hooks/media", json=row).json()["accepted"][0]["id"]
    assert (tmp_path / "media" / "intake" / media_id).read_bytes() == b"content"


def test_hook_answers_503_when_the_catalogue_is_unavailable(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RetryableError(Code.CATALOGUE, "the catalogue is locked")

    monkeypatch.setattr("esteira.web.intake.acceptance.process_media", refuse)
    answer = client.post("/hooks/media", json=GOOD)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json() == {"error": {"code": "catalogue", "message": "the catalogue is locked"}}


@pytest.mark.parametrize("error", [SettingsError("VAR_DIR: cannot be made"), CatalogueError("has no tables")])
def test_server_side_errors_answer_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: PipelineError
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("esteira.web.intake.acceptance.process_media", refuse)
    assert client.post("/hooks/media", json=GOOD).status_code == 503


def test_health_checks_need_no_token_and_no_redis(settings: Settings, own_valkey: ValkeyServer) -> None:
    from esteira.web.app import build_app

    elsewhere = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_valkey.url)})
    with TestClient(build_app(elsewhere)) as client:
        assert client.get("/readyz").json() == {"status": "ok"}
        own_valkey.stop()
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


def test_readyz_names_what_does_not_answer_for_callers_with_a_token(
    settings: Settings, own_valkey: ValkeyServer
) -> None:
    from esteira.web.app import build_app

    elsewhere = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_valkey.url)})
    with TestClient(build_app(elsewhere), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/readyz").json() == {"status": "ok", "catalogue": "ok", "redis": "ok", "intake": "ok"}
        own_valkey.stop()
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["catalogue"] == "ok"
        assert "does not answer" in answer.json()["redis"]
        for wrong in ("Bearer guessed", "Basic eDp5", "", f"Bearer {TOKEN} "[:-2]):
            shown = client.get("/readyz", headers={"Authorization": wrong})
            assert (shown.status_code, shown.json()) == (503, {"status": "unavailable"})


def test_workers_answers_503_while_redis_is_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise redis.ConnectionError("refused by an internal host")

    monkeypatch.setattr("esteira.web.api.health.workers", refuse)
    answer = client.get("/workers")
    assert (answer.status_code, answer.json()["error"]) == (503, {"code": "queue", "message": "Redis does not answer"})


def test_concurrent_readiness_checks_share_one_probe(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The route needs no token, and while Redis hangs each probe occupies a thread for a second."""
    from esteira.web.api.health import HealthRoutes
    from esteira.web.intake.ignored_counts import WebIgnoredCounter

    probes: list[float] = []

    def hang(_: Settings) -> str:
        probes.append(time.monotonic())
        time.sleep(0.2)
        return "does not answer"

    monkeypatch.setattr("esteira.web.api.health._redis_fault", hang)
    health = HealthRoutes(settings, WebIgnoredCounter())

    async def all_at_once() -> set[str]:
        answers = await asyncio.gather(*(health.readiness() for _ in range(100)))
        return {answer.status for answer in [*answers, await health.readiness()]}

    assert asyncio.run(all_at_once()) == {"unavailable"}
    assert len(probes) == 2, "one for the concurrent calls, and one for the later call"


def test_readyz_answers_503_without_tables(client: TestClient, tmp_path: Path) -> None:
    for file in tmp_path.glob("esteira.db*"):
        file.unlink()
    from pipeline.services import services

    services().catalogue.close()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["catalogue"] != "ok"


def test_readyz_for_intake_says_whether_hooks_are_accepted(
    settings: Settings, own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    from esteira.web.app import build_app

    elsewhere = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_valkey.url)})
    database = tmp_path / "esteira.db"
    with TestClient(build_app(elsewhere), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        own_valkey.stop()
        assert (client.get("/readyz").status_code, client.get("/readyz?for=intake").status_code) == (503, 200)
        database.rename(tmp_path / "backup.db")
        database.mkdir()
        assert client.get("/readyz").status_code == 503
        assert client.get("/readyz?for=intake").json()["intake"] == "ok"
        assert client.post("/hooks/media", json=GOOD).status_code == 202
        shutil.rmtree(tmp_path / "spool")
        (tmp_path / "spool").write_text("")
        answer = client.get("/readyz?for=intake")
        assert (answer.status_code, answer.json()["intake"]) == (503, f"{tmp_path / 'spool'} is not a directory")
        assert client.post("/hooks/media", json=GOOD).status_code == 503
        assert client.get("/readyz?for=nothing").status_code == 400


def test_readyz_answers_200_on_the_tables_of_a_newer_version(client: TestClient, tmp_path: Path) -> None:
    """In a rolling upgrade a load balancer would else take away all web apps before the first new one is ready."""
    with closing(sqlite3.connect(tmp_path / "esteira.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert client.get("/readyz").json() == {"status": "ok", "catalogue": "ok", "redis": "ok", "intake": "ok"}
    assert client.post("/hooks/media", json=GOOD).status_code == 202


@pytest.mark.parametrize("path", ["/redoc", "/nothing"])
def test_unknown_path_answers_404_in_the_error_form(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "not_found", "message": "Not Found"}}


def test_payload_that_crashes_the_parser_answers_400(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble(*_: object) -> None:
        raise KeyError("secret-of-a-payload")

    monkeypatch.setattr("pipeline.gateways.media.parse", stumble)
    answer = client.post("/hooks/media", json=GOOD)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")
    assert "secret-of-a-payload" not in answer.text
    said = capsys.readouterr().err
    assert "payload not understood" in said
    assert "KeyError" in said
    assert "stumble" in said
    assert said.count("secret-of-a-payload") == 1, "only in the source line of the traceback"


def test_unexpected_error_answers_503_with_retry_after(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from esteira.web.app import build_app

    def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("esteira.web.intake.acceptance.process_media", stumble)
    with TestClient(build_app(settings), raise_server_exceptions=False) as client:
        answer = client.post("/hooks/media", json=GOOD, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "internal")
    assert int(answer.headers["retry-after"]) > 0


def test_bodies_beyond_the_memory_limit_answer_429(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from esteira.web.intake import bodies

    monkeypatch.setattr(bodies, "SMALL_MEMORY", 4000)
    monkeypatch.setattr(bodies.BodyMemory, "FREE", 0)
    from esteira.web.app import build_app

    with TestClient(build_app(current_settings()), headers=client.headers) as small:
        large = {**GOOD, "caption": "x" * 4000}
        for _ in range(3):
            answer = small.post("/hooks/media", json=large)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        for number in range(5):
            fits = {**GOOD, "message_id": f"fits {number}", "caption": "x" * 2000}
            assert small.post("/hooks/media", json=fits).status_code == 202, "the memory is free again"


def test_ignored_count_survives_a_locked_catalogue(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.catalogue import Catalogue

    monkeypatch.setenv("EVOLUTION_SECRET", "evolution")
    current_settings.cache_clear()
    from esteira.web.app import build_app

    increment_all = Catalogue.increment_all

    def refuse(*_: object) -> None:
        raise RetryableError(Code.CATALOGUE, "locked")

    with TestClient(build_app(current_settings()), headers=client.headers) as app:
        monkeypatch.setattr(Catalogue, "increment_all", refuse)
        for _ in range(3):
            answer = app.post("/hooks/evolution", json={}, headers={"X-Webhook-Secret": "evolution"})
            assert answer.json() == {"accepted": [], "ignored": 1}
        assert app.get("/stats").json()["totals"]["ignored"] == 0
        monkeypatch.setattr(Catalogue, "increment_all", increment_all)
        assert app.get("/stats").json()["totals"]["ignored"] == 3


def test_trailing_slash_never_redirects(client: TestClient) -> None:
    answer = client.get("/healthz/", headers={"Host": "evil.example"}, follow_redirects=False)
    assert (answer.status_code, "location" in answer.headers) == (404, False)
    assert client.post("/hooks/media/", json=GOOD, follow_redirects=False).status_code == 202


def test_unknown_hook_answers_404_with_the_names_of_the_hooks(client: TestClient) -> None:
    answer = client.post("/hooks/Waha", json={})
    assert answer.status_code == 404
    assert "cloud, evolution, gowa, media, waha, wppconnect" in answer.json()["error"]["message"]
