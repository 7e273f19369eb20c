"""The doctor's checks of gateways that are asked for expired files."""

from __future__ import annotations

from typing import Any

import pytest

from actors.doctor.finding import Finding
from actors.doctor.gateways import run_checks
from pipeline.config.settings import load_settings
from tests.support.media_server import Answer, MediaServer, Request
from tests.support.valkey import free_port

KEY = "a-key-of-the-gateway"


class Gateway(MediaServer):
    """A server that answers every path with `status`, and 401 without the key."""

    status = 200

    def reply(self, request: Request, name: str) -> Answer:
        accepted = any(KEY in value for value in request.headers.values())
        return Answer(self.status if accepted else 401)


def findings(**settings: Any) -> list[Finding]:
    return list(run_checks(load_settings(_env_file=None, **{"reupload": "gateway", **settings})))


def test_gateways_that_are_not_asked_need_no_server() -> None:
    [finding] = findings(reupload="off")
    assert (finding.level, "off" in finding.message) == ("ok", True)


def test_missing_server_warns() -> None:
    [finding] = findings()
    assert (finding.level, "no gateway's server" in finding.message) == ("warn", True)


@pytest.mark.parametrize(
    ("url", "key"),
    [("evolution_url", "evolution_api_key"), ("waha_url", "waha_api_key"), ("wppconnect_url", "wppconnect_tokens")],
)
@pytest.mark.parametrize(("prefix", "status", "level"), [("", 200, "ok"), ("wrong-", 200, "warn"), ("", 503, "warn")])
def test_server_and_key_are_checked(url: str, key: str, prefix: str, status: int, level: str) -> None:
    value = f"{prefix}{KEY[len(prefix) :]}"
    with Gateway() as server:
        server.status = status
        [finding] = findings(
            **{url: server.url("")[:-1], key: f"shop={value}" if key == "wppconnect_tokens" else value}
        )
    assert finding.level == level
    assert value not in f"{finding.message} {finding.remedy}"
    assert [request.method for request in server.requests] == ["GET"]


def test_unreachable_server_warns() -> None:
    [finding] = findings(gowa_url=f"http://127.0.0.1:{free_port()}", gowa_auth="user:password")
    assert finding.level == "warn"
    assert "GOWA" in finding.message
