"""Asking a gateway for a file whose source is gone: its requests, and what its answers mean."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import Code, PacedError, PermanentError, PipelineError, ReuploadError
from pipeline.http_client import HttpClient, LocalRateLimiter
from pipeline.models import Attachment, Fetched, GoneSource
from pipeline.scrubber import hide_secrets
from pipeline.steps.fetch import fetch_from_gateway
from pipeline.steps.reupload import Reuploader
from pipeline.storage.staging import Staging
from tests.support.gateway_servers import EvolutionServer, GowaServer, WahaServer, WppconnectServer, json_answer
from tests.support.hostile_server import HostileServer, Script, canary, drips, floods, head, resets, says, stalls
from tests.support.media_server import Answer, MediaServer
from tests.support.memory import peak_memory_below

CONTENT = b"\xff\xd8\xff a photo" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "a-user:a-key-of-the-gateway"
CHAT = "5511999990000@c.us"
GONE = GoneSource(message="mmg.whatsapp.net answers 410")
MEDIA_KEY = base64.b64encode(bytes(range(32))).decode()
LOGIN_PAGE = b"<!doctype html><form action=/login><input type=password></form>"


def settings_with(**values: Any) -> Settings:
    """Settings with every gateway at the URL `base`, which may have a key. No private network is allowed."""
    base = values.pop("base", "http://127.0.0.1:9")
    urls = {f"{gateway}_url": base for gateway in ("evolution", "waha", "wppconnect", "gowa")}
    keys = dict.fromkeys(("evolution_api_key", "waha_api_key", "wppconnect_token", "gowa_auth"), KEY)
    return load_settings(_env_file=None, **{"reupload": "gateway", "reupload_timeout_s": 1, **urls, **keys, **values})


def attachment(gateway: str, **fields: Any) -> Attachment:
    declared = {"gateway": gateway, "session": "shop 1", "message_id": "3EB0/A1", "chat": CHAT, "kind": "image"}
    return Attachment.model_validate({**declared, **fields})


def ask(folder: Path, item: Attachment, settings: Settings) -> Fetched:
    """Asks the gateway, and asserts that nothing is left in staging unless the file is accepted."""
    client = HttpClient(read_timeout_s=settings.reupload_timeout_s, per_host=settings.reupload_concurrency)
    staging = Staging(folder / "staging")
    max_bytes = settings.max_bytes(item.kind)
    file = Reuploader(settings, client).file(item, GONE, max_bytes=max_bytes)
    try:
        return fetch_from_gateway(item, file=file, staging=staging, stored=None, max_bytes=max_bytes)
    except PipelineError:
        assert not staging.folder.exists() or not list(staging.folder.iterdir())
        raise
    finally:
        client.close()


def refusal(folder: Path, item: Attachment, settings: Settings) -> PipelineError:
    with pytest.raises(PipelineError) as error:
        ask(folder, item, settings)
    return error.value


def evolution_error(folder: Path, script: Script, **fields: Any) -> PipelineError:
    """The error when Evolution API runs this script."""
    with HostileServer(script) as server:
        return refusal(folder, attachment("evolution", **fields), settings_with(base=server.url("")))


def json_head(content: bytes = b"") -> bytes:
    length = (f"Content-Length: {len(content)}",) if content else ()
    return head("Content-Type: application/json", *length, status="201 Created") + content


def test_evolution_is_asked_by_the_key_of_the_message(tmp_path: Path) -> None:
    with EvolutionServer(KEY) as server:
        server.messages["3EB0/A1"] = ("image/jpeg", CONTENT)
        group = {"chat": "120363@g.us", "sender": "5511@s.whatsapp.net", "from_me": True}
        assert ask(tmp_path, attachment("evolution", **group), settings_with(base=server.base)).sha256 == SHA256
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/chat/getBase64FromMediaMessage/shop%201")
    key = {"remoteJid": "120363@g.us", "fromMe": True, "id": "3EB0/A1", "participant": "5511@s.whatsapp.net"}
    assert json.loads(request.body) == {"message": {"key": key}, "convertToMp4": False}


def test_evolution_gets_the_media_node_if_the_message_had_one(tmp_path: Path) -> None:
    with EvolutionServer(KEY) as server:
        server.messages["3EB0/A1"] = ("image/jpeg", CONTENT)
        fields = {
            "media_key": MEDIA_KEY,
            "direct_path": "/v/t62/1?oe=1",
            "mimetype": "image/jpeg",
            "file_sha256": SHA256,
        }
        ask(tmp_path, attachment("evolution", **fields), settings_with(base=server.base))
    node = {"mediaKey": list(range(32)), "directPath": "/v/t62/1?oe=1", "mimetype": "image/jpeg"}
    assert json.loads(server.requests[0].body)["message"]["message"] == {"imageMessage": node}


@pytest.mark.parametrize("form", ["list", "base64"])
def test_refusal_that_quotes_the_request_shows_neither_key_nor_signed_path(form: str, tmp_path: Path) -> None:
    key = str(list(range(32))) if form == "list" else MEDIA_KEY
    said = f"cannot download /v/t62/1?oh=01_Q5&oe=1 with {key}"
    fields = {"media_key": MEDIA_KEY, "direct_path": "/v/t62/1?oh=01_Q5&oe=1", "mimetype": "image/jpeg"}
    with MediaServer({}) as server:
        server.answers["chat/getBase64FromMediaMessage/shop 1"] = json_answer(400, {"response": {"message": [said]}})
        error = refusal(tmp_path, attachment("evolution", **fields), settings_with(base=server.url("")[:-1]))
    assert "cannot download /v/t62/1" in error.message
    assert not any(secret in error.message for secret in ("01_Q5", "12, 13", MEDIA_KEY[:10]))


@pytest.mark.parametrize("length", [165, 175, 185])
def test_refusal_that_quotes_the_key_of_the_gateway_shows_no_part_of_it(length: int, tmp_path: Path) -> None:
    """The message is cut after 200 characters, within the key."""
    settings = settings_with(base="http://127.0.0.1:9", evolution_api_key="first-half-of-a-key/second-half-of-a-key")
    hide_secrets(settings.secrets())
    said = "x " * (length // 2) + "first-half-of-a-key/second-half-of-a-key"
    with MediaServer({}) as server:
        server.answers["chat/getBase64FromMediaMessage/shop 1"] = json_answer(400, {"response": {"message": [said]}})
        settings = settings.model_copy(update={"evolution_url": server.url("")[:-1]})
        error = refusal(tmp_path, attachment("evolution"), settings)
    assert "x x" in error.message
    assert "first" not in error.message


def test_waha_is_asked_for_the_message_and_for_the_url_that_it_names(tmp_path: Path) -> None:
    with WahaServer(KEY) as server:
        server.messages["3EB0/A1"] = ("image/jpeg", CONTENT)
        assert ask(tmp_path, attachment("waha"), settings_with(base=server.base)).sha256 == SHA256
    asked, fetched = server.requests
    assert asked.path == "/api/shop%201/chats/5511999990000%40c.us/messages/3EB0%2FA1?downloadMedia=true"
    assert fetched.path.startswith("/api/files/")


def test_wppconnect_is_asked_with_the_token_of_the_session(tmp_path: Path) -> None:
    with WppconnectServer("token-of-shop") as server:
        server.messages["3EB0/A1"] = ("image/jpeg", CONTENT)
        settings = settings_with(base=server.base, wppconnect_tokens="shop 1=token-of-shop,help=another-token")
        assert ask(tmp_path, attachment("wppconnect"), settings).sha256 == SHA256
    assert server.requests[0].path == "/api/shop%201/get-media-by-message/3EB0%2FA1"


def test_gowa_is_asked_for_the_message_of_a_device_and_for_the_path_that_it_names(tmp_path: Path) -> None:
    with GowaServer(KEY) as server:
        server.messages["3EB0/A1"] = ("image/jpeg", CONTENT)
        item = attachment("gowa", session="5511@s.whatsapp.net", message_id="3EB0A1")
        server.messages["3EB0A1"] = ("image/jpeg", CONTENT)
        assert ask(tmp_path, item, settings_with(base=server.base)).sha256 == SHA256
    asked, fetched = server.requests
    assert asked.path == "/message/3EB0A1/download?phone=5511999990000%40c.us"
    assert asked.headers["x-device-id"] == "5511@s.whatsapp.net"
    assert fetched.path.startswith("/statics/media/")


@pytest.mark.parametrize("gateway", ["evolution", "waha", "wppconnect", "gowa"])
def test_second_file_of_a_message_is_not_confused_with_the_first(gateway: str, tmp_path: Path) -> None:
    """WPPConnect's messages have one file; the other gateways give out the first file of a message."""
    with MediaServer() as server:
        error = refusal(tmp_path, attachment(gateway, part=1), settings_with(base=server.url("")[:-1]))
    assert error.code == Code.SOURCE_GONE
    assert server.requests == [] or gateway == "wppconnect"


@pytest.mark.parametrize("gateway", ["evolution", "waha", "wppconnect", "gowa"])
def test_id_that_would_leave_the_path_is_not_sent(gateway: str, tmp_path: Path) -> None:
    with MediaServer() as server:
        item = attachment(gateway, session="..", message_id="..", chat="..")
        error = refusal(tmp_path, item, settings_with(base=server.url("")[:-1]))
    assert isinstance(error, PermanentError)
    assert server.requests == []


@pytest.mark.parametrize(
    ("gateway", "answer", "words"),
    [
        ("evolution", json_answer(400, {"response": {"message": ["Message not found"]}}), "DATABASE_SAVE_DATA_NEW"),
        ("evolution", json_answer(404, {"response": {"message": ['The "shop" instance does not exist']}}), "exist"),
        ("waha", json_answer(404, {"message": "Message not found", "statusCode": 404}), "Message not found"),
        ("waha", json_answer(200, {"media": {"url": None, "error": {"message": "no file"}}}), "no file"),
        ("waha", json_answer(200, {"media": None}), "names no file"),
        ("wppconnect", json_answer(400, {"status": "error", "message": "Message not found"}), "Message not found"),
        ("gowa", json_answer(500, {"message": "message with ID 3EB0 not found"}), "not found"),
        ("gowa", json_answer(500, {"message": "failed to download media: status code 410"}), "410"),
        ("gowa", json_answer(200, {"results": {"file_path": "/etc/passwd"}}), "statics/"),
        ("gowa", json_answer(200, {"results": {"file_path": "statics/../../etc/passwd"}}), "statics/"),
    ],
)
def test_gateway_without_the_file_expires_the_attachment_with_its_words(
    gateway: str, answer: Answer, words: str, tmp_path: Path
) -> None:
    error = refusal_of_answer(tmp_path, gateway, answer)
    assert isinstance(error, PermanentError)
    assert error.code == Code.SOURCE_GONE
    assert error.message.startswith("mmg.whatsapp.net answers 410; ")
    assert words in error.message


@pytest.mark.parametrize(
    ("gateway", "answer", "code"),
    [
        ("evolution", json_answer(400, {"response": {"message": ["Error: Connection Closed"]}}), "fetch_unavailable"),
        ("evolution", json_answer(401, {"response": {"message": "Unauthorized"}}), "fetch_unauthorized"),
        ("waha", json_answer(422, {"error": "Session status is not as expected."}), "fetch_unavailable"),
        ("waha", json_answer(401, {"message": "Unauthorized"}), "fetch_unauthorized"),
        ("wppconnect", json_answer(500, {"message": "The session is not active"}), "fetch_unavailable"),
        ("gowa", json_answer(504, {"code": "GATEWAY_TIMEOUT", "message": "Request timed out"}), "fetch_unavailable"),
        ("gowa", Answer(429, {"Retry-After": "30"}), "fetch_unavailable"),
        *((gateway, Answer(200, {}, LOGIN_PAGE), "fetch_protocol") for gateway in ("waha", "wppconnect", "gowa")),
        *((gateway, Answer(200, {}, b"null"), "fetch_protocol") for gateway in ("evolution", "wppconnect")),
        ("evolution", json_answer(201, {"base64": None}), "fetch_protocol"),
        ("evolution", json_answer(201, {"base64": "not base64!"}), "fetch_protocol"),
        ("evolution", json_answer(201, {"message": {"base64": "AAAA"}}), "fetch_protocol"),
        ("evolution", Answer(302, {"Location": "http://169.254.169.254/latest/"}), "fetch_redirect"),
    ],
)
def test_gateway_in_trouble_is_asked_again(gateway: str, answer: Answer, code: str, tmp_path: Path) -> None:
    error = refusal_of_answer(tmp_path, gateway, answer)
    assert isinstance(error, ReuploadError)
    assert error.code == code
    assert error.message.startswith("mmg.whatsapp.net answers 410; ")


def refusal_of_answer(folder: Path, gateway: str, answer: Answer) -> PipelineError:
    """The error when every request to this gateway gets this answer."""

    class Gateway(MediaServer):
        def reply(self, *_: object) -> Answer:
            return answer

    with Gateway() as server:
        return refusal(folder, attachment(gateway), settings_with(base=server.url("")[:-1]))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(stalls(), id="no-answer"),
        pytest.param(stalls(json_head() + b'{"base64":"AAAA'), id="half-an-answer"),
        pytest.param(drips(json_head() + b'{"base64":"', b"A", every_s=0.3), id="slow-file"),
        pytest.param(drips(head()[:-2], b"A: b\r\n", every_s=0.3), id="slow-head"),
    ],
)
def test_gateway_that_never_finishes_is_given_up_in_time(script: Script, tmp_path: Path) -> None:
    error = evolution_error(tmp_path, script)
    assert isinstance(error, ReuploadError)
    assert error.code == Code.FETCH_TIMEOUT


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(resets(json_head() + b'{"base64":"AAAA'), "fetch_reset", id="reset"),
        pytest.param(says(json_head() + b'{"base64":"AAAA'), "fetch_protocol", id="cut"),
        pytest.param(floods(json_head() + b'{"a":', b"[" * 65536), "fetch_protocol", id="nesting"),
        pytest.param(floods(json_head() + b'{"a":"', b"x" * 65536), "fetch_protocol", id="another-text"),
        pytest.param(floods(head(status="500 No"), b"[" * 65536), "fetch_unavailable", id="endless-error"),
    ],
)
def test_malformed_answer_is_another_attempt(script: Script, code: str, tmp_path: Path) -> None:
    error = evolution_error(tmp_path, script)
    assert isinstance(error, ReuploadError)
    assert error.code == code


def test_endless_file_is_too_large_and_takes_little_memory(tmp_path: Path) -> None:
    flood = floods(json_head() + b'{"base64":"', b"QUJD" * 65536)
    with HostileServer(flood) as server, peak_memory_below(24):
        chosen = settings_with(base=server.url(""), max_document_mb=40, fetch_min_bytes_per_s=1000)
        error = refusal(tmp_path, attachment("evolution", kind="document"), chosen)
    assert isinstance(error, PermanentError)
    assert (error.code, error.message) == (Code.TOO_LARGE, "the file is larger than 40000000 bytes")


def test_announced_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    error = evolution_error(tmp_path, says(head("Content-Length: 99999999999", status="201 Created")))
    assert (error.code, error.message) == (Code.TOO_LARGE, "the file is larger than 16000000 bytes")


def test_another_file_is_never_accepted(tmp_path: Path) -> None:
    with EvolutionServer(KEY) as server:
        server.messages["3EB0/A1"] = ("image/jpeg", b"another file")
        error = refusal(tmp_path, attachment("evolution", file_sha256=SHA256), settings_with(base=server.base))
    assert (type(error), error.code) == (PermanentError, Code.SOURCE_GONE)
    assert "Evolution API was asked: the file does not have the hash that the message declares" in error.message


def test_file_behind_the_longest_caption_is_found(tmp_path: Path) -> None:
    answer = {"caption": "ç" * 65_536, "size": {"fileLength": {"low": 1, "high": 0}}, "base64": "", "buffer": None}
    answer["base64"] = base64.b64encode(CONTENT).decode()
    with MediaServer() as server:
        server.answers["chat/getBase64FromMediaMessage/shop 1"] = json_answer(201, answer)
        fetched = ask(tmp_path, attachment("evolution"), settings_with(base=server.url("")[:-1]))
    assert fetched.sha256 == SHA256


def test_empty_file_expires_the_attachment(tmp_path: Path) -> None:
    with EvolutionServer(KEY) as server:
        server.messages["3EB0/A1"] = ("image/jpeg", b"")
        error = refusal(tmp_path, attachment("evolution"), settings_with(base=server.base))
    assert (type(error), error.code) == (PermanentError, Code.SOURCE_GONE)


@pytest.mark.parametrize("place", ["url", "redirect"])
def test_waha_cannot_lead_to_another_private_server(place: str, tmp_path: Path) -> None:
    class Waha(MediaServer):
        def reply(self, request: Any, name: str) -> Answer | None:
            if name.startswith("api/files"):
                return Answer(302, {"Location": target})
            url = target if place == "url" else self.url("api/files/a.jpeg")
            return json_answer(200, {"media": {"url": url}})

    with canary() as other, Waha() as server:
        target = other.url("/latest/meta-data")
        error = refusal(tmp_path, attachment("waha"), settings_with(base=server.url("")[:-1]))
        assert other.connections == 0
    assert (type(error), error.code) == (PermanentError, Code.SOURCE_GONE)


def test_key_is_not_sent_to_another_server_that_waha_names(tmp_path: Path) -> None:
    with MediaServer({"a.jpeg": CONTENT}) as other, MediaServer() as server:
        answer = json_answer(200, {"media": {"url": other.url("a.jpeg")}})
        server.answers["api/shop%201/chats/5511999990000%40c.us/messages/3EB0%2FA1"] = answer
        settings = settings_with(base=server.url("")[:-1])
        with pytest.raises(PipelineError):  # it is at a private address that no setting allows
            ask(tmp_path, attachment("waha"), settings)
        assert other.requests == []


def test_keys_and_urls_in_a_refusal_are_hidden(tmp_path: Path) -> None:
    hide_secrets([KEY])
    said = f"wrong key {KEY} for http://u:p@host/x?token=1"
    error = refusal_of_answer(tmp_path, "evolution", json_answer(500, {"message": said}))
    assert "wrong key [hidden] for (URL)" in error.message
    hide_secrets([])


def test_gateway_is_asked_at_its_pace(tmp_path: Path) -> None:
    now = [0.0]
    settings = settings_with(reupload_per_minute=20)
    client = HttpClient()
    client.rate_limiter = LocalRateLimiter({"*": 20 / 60}, clock=lambda: now[0])
    reuploader = Reuploader(settings, client)
    waits = []
    for number in range(4):
        with (
            pytest.raises(PipelineError) as error,
            reuploader.file(attachment("evolution", message_id=f"m{number}"), GONE, max_bytes=1000),
        ):
            pass
        waits.append(error.value.retry_after if isinstance(error.value, PacedError) else 0)
    client.close()
    assert waits[0] == 0
    assert waits[1] == pytest.approx(3)
    assert all(wait >= 3 for wait in waits[1:])


def test_only_configured_gateways_are_asked() -> None:
    client = HttpClient()
    everything = settings_with()
    nothing = load_settings(_env_file=None, reupload="gateway")
    off = settings_with(reupload="off")
    for gateway in ("evolution", "waha", "wppconnect", "gowa"):
        item = attachment(gateway)
        assert [Reuploader(settings, client).can_ask(item) for settings in (everything, nothing, off)] == [
            True,
            False,
            False,
        ]
    assert not Reuploader(everything, client).can_ask(attachment("media"))
    assert not Reuploader(everything, client).can_ask(attachment("cloud"))
    client.close()
