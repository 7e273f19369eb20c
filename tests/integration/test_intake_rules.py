"""INTAKE_RULES at the hooks, at `process_media()` and at `esteira submit`, and how ignored attachments are counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from tests.support.system import RunningSystem
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, web_server

RULES = json.dumps(
    [
        {"chats": ["status@broadcast"], "take": False},
        {"from_me": True, "take": True},
        {"kinds": ["sticker"], "sessions": ["shop-*"], "take": False},
    ]
)
URL = "http://127.0.0.1:9/photo.jpg"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def row(message_id: str, **fields: object) -> dict[str, object]:
    return {"session": "shop-1", "message_id": message_id, "url": URL, **fields}


def test_hook_ignores_what_rules_refuse_and_counts_it_by_rule(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(intake_rules=RULES)
    batch = [
        row("1", kind="sticker"),
        row("2", kind="sticker", from_me=True),
        row("3", kind="image"),
        row("4", chat="status@broadcast", kind="image"),
        row("5", kind="sticker", session="other"),
        row("6", kind="sticker"),
    ]
    with web_server(system) as server:
        reply = server.post_media(batch).json
        assert [one["message_id"] for one in reply["accepted"]] == ["2", "3", "5"]
        assert (reply["ignored"], reply["ignored_by_rule"]) == (3, {"1": 1, "3": 2})
        assert "ignored_by_rule" not in server.post_media(row("7")).json
        alone = server.post_media(row("8", kind="sticker"))
        assert (alone.status, alone.json) == (202, {"accepted": [], "ignored": 1, "ignored_by_rule": {"3": 1}})
        totals = server.totals()
        assert (totals["ignored"], totals["ignored_rule_1"], totals["ignored_rule_3"]) == (4, 1, 3)
        assert totals["received"] == 4
        metrics = server.request("GET", "/metrics", headers=AUTHORIZED).body.decode()
        assert 'esteira_ignored_by_rule_total{rule="3"} 3.0' in metrics
        assert "esteira_ignored_total 4.0" in metrics
        logged: Counter[str] = Counter()
        for line in server.log_text().splitlines():
            logged.update(json.loads(line).get("by_rule", {}))
        assert logged == {"1": 1, "3": 3}


def test_listener_learns_the_rule_and_nothing_is_recorded(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(intake_rules=RULES)
    receipt = system.submit(chat="status@broadcast", url=URL)
    assert (receipt.mode, receipt.status, receipt.rule) == ("ignored", None, 1)
    assert system.services.catalogue.get(receipt.id) is None
    wait_until(lambda: system.services.catalogue.totals().get("ignored_rule_1") == 1, within_s=10)
    assert system.services.catalogue.totals()["ignored"] == 1
    on_purpose = system.hook.accept(system.attachment(chat="status@broadcast", url=URL), by_rules=False)
    assert (on_purpose.mode, on_purpose.rule) == ("queued", None)


def test_own_message_of_a_gateway_is_known_to_the_rules(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(intake_rules='[{"from_me": true, "take": false}]')
    message = {"event": "onselfmessage", "session": "s", "type": "image", "id": "true_1@c.us_A", "fromMe": True}
    received = {**message, "event": "onmessage", "id": "false_1@c.us_B", "fromMe": False}
    with web_server(system, allow_unsigned_hooks="true") as server:
        replies = [
            server.request("POST", "/hooks/wppconnect", json.dumps(one).encode()).json for one in (message, received)
        ]
    assert replies[0] == {"accepted": [], "ignored": 1, "ignored_by_rule": {"1": 1}}
    assert len(replies[1]["accepted"]) == 1
