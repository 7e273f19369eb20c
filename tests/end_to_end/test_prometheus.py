"""A real Prometheus scrapes a running Esteira, loads its alert rules, and answers the dashboard's queries."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from esteira.cli.demo import pictures
from tests.conftest import missing
from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.media_server import MediaServer
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

DOCS = Path(__file__).parents[2] / "docs"
SECRETS = {"API_TOKEN": "a token of the tests", "METRICS_TOKEN": "another that reads metrics"}


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, port: int) -> None:
        self._at = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **given: str) -> Any:
        """The data of an answer; None while Prometheus does not answer or is starting."""
        try:
            with urllib.request.urlopen(f"{self._at}/{path}?{urllib.parse.urlencode(given)}", timeout=10) as answer:
                payload = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(f"{given}: {error.read().decode()}") from None
        except OSError:
            return None
        assert payload["status"] == "success", payload
        return payload["data"]

    def value(self, query: str) -> float | None:
        """The value of a query with one result; None without a result."""
        data = self.ask("query", query=query)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the target every second, as in docs/operations.md, with docs/alerts.yml."""
    binary = shutil.which("prometheus")
    if not binary:
        missing("prometheus")
    shutil.copy(DOCS / "alerts.yml", folder)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {
                "job_name": "esteira",
                "authorization": {"credentials": SECRETS["METRICS_TOKEN"]},
                "static_configs": [{"targets": [target]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    command = [str(binary), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def installation(module_valkey: ValkeyServer) -> Iterator[Installation]:
    with new_installation(REDIS_URL=module_valkey.url, PORT=str(free_port()), WEB_WORKERS="2", **SECRETS) as made:
        yield made


def submit(installation: Installation, media: MediaServer, *names: str) -> None:
    given = [{"session": "s", "message_id": name, "url": media.url(name), "kind": "image"} for name in names]
    request = urllib.request.Request(
        f"http://127.0.0.1:{installation.env['PORT']}/hooks/media", json.dumps(given).encode()
    )
    request.add_header("Authorization", f"Bearer {SECRETS['API_TOKEN']}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


# Parts of the names of metrics that have no samples in this test: no such event, no antivirus, no endpoint.
WITHOUT_SAMPLES = ("retries", "deaths", "antivirus", "webhook", "events_lost", "events_waiting", "spool_total")


def panel_queries() -> list[str]:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.mark.slow
def test_prometheus_scrapes_the_metrics_of_all_processes(
    installation: Installation, media: MediaServer, tmp_path: Path
) -> None:
    media.files |= {"a": pictures.jpeg(), "b": b"<html>no picture</html>"}
    target = f"127.0.0.1:{installation.env['PORT']}"
    with start_esteira(installation, "--workers", "2"), prometheus(tmp_path, target) as seen:
        wait_until(lambda: seen.value('up{job="esteira"}') == 1, within_s=60)
        submit(installation, media, "a", "b", "c")  # the server has no c
        wait_until(lambda: seen.value("sum(esteira_endings_total)") == 3, within_s=60, every_s=0.5)
        wait_until(lambda: seen.value('sum(esteira_endings_total{status="done",kind="image"})') == 1)
        wait_until(lambda: seen.value("esteira_received_total") == 3)
        wait_until(lambda: seen.value("esteira_workers") == 2)
        wait_until(lambda: seen.value("sum(esteira_hook_duration_seconds_count)") == 1)  # flushed by another process

        rules = [rule for group in seen.ask("rules")["groups"] for rule in group["rules"]]
        assert len(rules) == (DOCS / "alerts.yml").read_text().count("- alert:")
        wait_until(lambda: all(r["health"] == "ok" for g in seen.ask("rules")["groups"] for r in g["rules"]))
        for query in panel_queries():
            run_query = partial(seen.ask, "query", query=query.replace("$__rate_interval", "1m"))
            assert run_query() is not None
            if not any(word in query for word in WITHOUT_SAMPLES):
                wait_until(lambda run_query=run_query: run_query()["result"])  # a rate takes two scrapes
        firing = [alert["labels"]["alertname"] for alert in seen.ask("alerts")["alerts"] if alert["state"] == "firing"]
        assert firing == []
