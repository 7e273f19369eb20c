"""docs/alerts.yml, docs/grafana.json and docs/operations.md use existing metrics, and operations.md lists them all."""

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
from pipeline.catalogue.tables import IGNORED_BY_RULE
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
    """A page that contains every metric."""
    system = make_system(webhook_url="http://127.0.0.1:9/", webhook_secret=SECRET)
    COUNTER_BUFFER.drain()
    for metric in (*COUNTERS, *HISTOGRAMS):
        values = ["x" for _ in metric.labels]
        if isinstance(metric, Counter):
            metric.add(*values)
        else:
            metric.observe(1, *values)
    for gauge in GAUGES:
        gauge.set(1, *("x" for _ in gauge.labels))
    flush(system.queue)
    system.services.catalogue.increment_all({f"{IGNORED_BY_RULE}1": 1})
    yield Page(metrics_page(system.services, system.queue, circuit_open=False, worker_timeout_s=SILENCE_S).decode())
    COUNTER_BUFFER.drain()
    for gauge in GAUGES:
        gauge.set(0, *("x" for _ in gauge.labels))


def alert_names() -> list[str]:
    return re.findall(r"- alert: (\w+)", ALERTS)


def expressions() -> list[str]:
    """The queries of the panels, with Grafana's variable replaced."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "1m") for expression in found]


def test_panels_and_rules_use_existing_metrics(page: Page) -> None:
    used = set(METRIC.findall(" ".join(expressions()) + re.sub(r"(?m)^ +(summary|description):.*$", "", ALERTS)))
    assert len(used) > 15
    assert used <= page.names


def test_panels_and_rules_use_existing_labels(page: Page) -> None:
    uses = USE.findall(" ".join(expressions()) + ALERTS)
    assert uses
    for name, matchers in uses:
        lines = [line for line in page.text.splitlines() if line.startswith(f"{name}{{")]
        for label in re.findall(r"(\w+)!?=~?\"", matchers):
            assert lines, name
            assert all(f'{label}="' in line for line in lines), (name, label)


def test_operations_doc_lists_exactly_the_metrics(page: Page) -> None:
    table = OPERATIONS.split("## Metrics")[1].split("## What to do")[0]
    assert set(METRIC.findall(table)) == set(page.kinds)


def test_operations_doc_explains_every_alert() -> None:
    assert re.findall(r"(?m)^### (Esteira\w+)$", OPERATIONS) == alert_names()


def test_dashboard_can_be_imported_into_grafana() -> None:
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


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        cells = set(product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_panel_thresholds_ascend() -> None:
    for panel in PANELS:
        values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert values[0] is None
        assert all(low < high for low, high in pairwise(values[1:]))


@pytest.mark.parametrize(
    "command", [["check", "rules", "docs/alerts.yml"], ["test", "rules", "tests/files/alerts.yml"]]
)
def test_promtool_accepts_the_rules_and_their_tests(command: list[str]) -> None:
    if not shutil.which("promtool"):
        missing("promtool")
    done = subprocess.run(
        ["promtool", *command], cwd=DOCS.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_promtool_test() -> None:
    """In tests/files/alerts.yml."""
    cases = (Path(__file__).parent / "files" / "alerts.yml").read_text()
    assert set(re.findall(r"alertname: (\w+)", cases)) == set(alert_names())
