"""docs/alerts.yml, docs/grafana.json and docs/operations.md speak of metrics that exist, and of all of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from actors.maintenance.heartbeat import SILENCE_S
from actors.observability.metrics_page import metrics_page
from actors.observability.metrics_store import flush
from pipeline.metrics import COUNTER_BUFFER, COUNTERS, GAUGES, HISTOGRAMS, Counter
from tests.conftest import missing
from tests.support.scraped import Page
from tests.support.system import RunningSystem
from tests.support.webhooks import SECRET

DOCS = Path(__file__).parent.parent / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = (DOCS / "alerts.yml").read_text()
OPERATIONS = (DOCS / "operations.md").read_text()
METRIC = re.compile(r"\besteira_\w+")
USE = re.compile(r"\b(esteira_\w+)\{([^}]*)\}")


@pytest.fixture
def page(make_system: Callable[..., RunningSystem]) -> Iterator[Page]:
    """A page on which every metric stands, as if each had counted something."""
    system = make_system(webhook_url="http://127.0.0.1:9/", webhook_secret=SECRET)
    COUNTER_BUFFER.drain()
    for meter in (*COUNTERS, *HISTOGRAMS):
        values = ["x" for _ in meter.labels]
        if isinstance(meter, Counter):
            meter.add(*values)
        else:
            meter.observe(1, *values)
    for gauge in GAUGES:
        gauge.set(1, *("x" for _ in gauge.labels))
    flush(system.queue)
    yield Page(metrics_page(system.services, system.queue, circuit_open=False, worker_timeout_s=SILENCE_S).decode())
    COUNTER_BUFFER.drain()
    for gauge in GAUGES:
        gauge.set(0, *("x" for _ in gauge.labels))


def alert_names() -> list[str]:
    return re.findall(r"- alert: (\w+)", ALERTS)


def expressions() -> list[str]:
    """What the panels ask for; the dashboard's own variable is put in as Grafana does."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "1m") for expression in found]


def test_every_panel_and_every_rule_asks_for_metrics_that_exist(page: Page) -> None:
    asked = set(METRIC.findall(" ".join(expressions()) + re.sub(r"(?m)^ +(summary|description):.*$", "", ALERTS)))
    assert len(asked) > 15
    assert asked <= page.names


def test_every_label_that_is_asked_for_exists(page: Page) -> None:
    uses = USE.findall(" ".join(expressions()) + ALERTS)
    assert uses
    for name, matchers in uses:
        lines = [line for line in page.text.splitlines() if line.startswith(f"{name}{{")]
        for label in re.findall(r"(\w+)!?=~?\"", matchers):
            assert lines, name
            assert all(f'{label}="' in line for line in lines), (name, label)


def test_every_metric_is_explained_and_no_other(page: Page) -> None:
    table = OPERATIONS.split("## Metrics")[1].split("## What to do")[0]
    assert set(METRIC.findall(table)) == set(page.kinds)


def test_every_alert_says_what_to_do() -> None:
    assert re.findall(r"(?m)^### (\w+)$", OPERATIONS) == alert_names()


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"] == "esteira"
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert [item["type"] for item in DASHBOARD["templating"]["list"]] == ["datasource"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"]
        refs = [target["refId"] for target in panel["targets"]]
        assert refs
        assert len(set(refs)) == len(refs)


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        cells = set(product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_thresholds_ascend() -> None:
    for panel in PANELS:
        values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert values[0] is None
        assert all(low < high for low, high in pairwise(values[1:]))


@pytest.mark.parametrize(
    "command", [["check", "rules", "docs/alerts.yml"], ["test", "rules", "tests/files/alerts.yml"]]
)
def test_promtool_takes_the_rules_and_they_fire_when_they_should(command: list[str]) -> None:
    if not shutil.which("promtool"):
        missing("promtool")
    done = subprocess.run(
        ["promtool", *command], cwd=DOCS.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire() -> None:
    """By tests/files/alerts.yml, which promtool runs."""
    cases = (Path(__file__).parent / "files" / "alerts.yml").read_text()
    assert set(re.findall(r"alertname: (\w+)", cases)) == set(alert_names())
