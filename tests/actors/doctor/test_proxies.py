"""`esteira doctor` on FETCH_PROXY."""

from __future__ import annotations

from actors.doctor import proxies
from actors.doctor.finding import Finding, Level
from pipeline.config.settings import load_settings
from tests.support.proxies import http_proxy
from tests.support.valkey import free_port


def findings(value: str | None) -> list[Finding]:
    return list(proxies.run_checks(load_settings(_env_file=None, fetch_proxy=value)))


def test_no_proxy_is_one_finding() -> None:
    [finding] = findings(None)
    assert (finding.level, "directly" in finding.message) == (Level.OK, True)


def test_each_proxy_is_a_finding_without_its_login() -> None:
    with http_proxy() as (port, journal):
        gone = free_port()
        good = f"http://maria:a-password@127.0.0.1:{port}"
        found = findings(f"a.example={good},*.b.example={good},c.example=direct,*=socks5://127.0.0.1:{gone}")
    assert [finding.level for finding in found] == [Level.OK, Level.OK, Level.FAIL]
    assert found[0].message.startswith(f"a.example, *.b.example: http://127.0.0.1:{port} accepts connections")
    assert found[1].message == "c.example: directly"
    assert f"*: the proxy socks5://127.0.0.1:{gone} is unreachable" in found[2].message
    assert all(word not in str(found) for word in ("maria", "a-password"))
    assert journal.heads == []
