"""The audit log of the commands, and `esteira audit`.

The commands are read from the command line, so a new one that changes something and is not recorded fails here.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pwd
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import click
import pytest
from rich.console import Console

from esteira.cli import audit as audit_command
from esteira.cli.commands import COMMANDS, load_command
from esteira.cli.output import print_entries
from pipeline.catalogue import Action, Actor, AuditFilters, AuditOutcome, AuditRecord, Catalogue, DeliveryResult, Via
from pipeline.catalogue.user_tokens import UserToken
from pipeline.models import Status
from pipeline.security.roles import Role
from pipeline.security.scopes import ALL_SESSIONS
from pipeline.security.user_tokens import new_token
from tests.support.catalogues import attachment, finished
from tests.support.esteira import Installation
from tests.support.webhooks import announced_record, endpoints

LOOPBACK = "http://127.0.0.1:9/file?token=in-a-url"
TOKEN = "a token of the tests"
KEY = base64.urlsafe_b64encode(bytes(32)).decode()
UNKNOWN = "0" * 32
HOSTILE = "\x1b[31mred\x1b[0m\nsecond line\u202e<b>"

# Commands that change nothing. `start` only changes the tables, as `migrate` does.
READING = {  # also those that start or replace processes, and change no data
    *("start", "reload", "status", "list", "failures", "stats", "workers", "pauses", "check", "doctor", "audit"),
    "settings",
    *("webhooks list", "users list"),
}


def every_command() -> Iterator[tuple[str, click.Command]]:
    """All commands with their full names, those of groups included."""
    for name in COMMANDS:
        command = load_command(name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {part}", inner) for part, inner in command.commands.items())
        else:
            yield name, command


@pytest.fixture
def catalogue(installation: Installation) -> Iterator[Catalogue]:
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        yield catalogue


@pytest.fixture
def secured(installation: Installation) -> Installation:
    crm = endpoints({"name": "crm", "url": "http://127.0.0.1:9/hook"})
    return installation.with_settings(API_TOKEN=TOKEN, WEBHOOK_ENDPOINTS=crm, ENCRYPTION_KEYS=KEY)


def entries_of(catalogue: Catalogue, installation: Installation, *arguments: str) -> list[AuditRecord]:
    """The entries that a command leaves."""
    before = {entry.id for entry in catalogue.audit.find(AuditFilters(), limit=1000)}
    installation.run(*arguments)
    return [entry for entry in catalogue.audit.find(AuditFilters(), limit=1000) if entry.id not in before]


def _undelivered(catalogue: Catalogue) -> list[str]:
    announced_record(catalogue, "crm")
    [attempt] = catalogue.deliveries.record_and_claim("crm", [], want=1, lease_s=40).attempts
    catalogue.deliveries.record_and_claim("crm", [DeliveryResult(attempt, "answered 500")], want=0, lease_s=40)
    return ["--endpoint", "crm", "--yes"]


def _received(catalogue: Catalogue) -> list[str]:
    return [catalogue.accept(attachment()).id]


def _failed(catalogue: Catalogue) -> list[str]:
    return [finished(catalogue, Status.FAILED).id]


def _user(catalogue: Catalogue) -> list[str]:
    token = new_token()
    catalogue.user_tokens.add(UserToken(token.id, "ana", Role.VIEWER, ALL_SESSIONS, token.secret_hash, 0, None))
    return ["ana"]


def _failed_row(catalogue: Catalogue) -> list[str]:
    _failed(catalogue)
    return []


# For each changing command: what it needs, its arguments, the action, and how much it changes.
Prepare = Callable[[Catalogue], list[str]]
CHANGING: dict[str, tuple[Prepare, tuple[str, ...], Action, int]] = {
    "submit": (lambda _: [LOOPBACK, LOOPBACK], (), Action.SUBMIT, 2),
    "replay": (_failed, (), Action.REPLAY, 1),
    "delete": (_failed, ("--yes",), Action.DELETE, 1),
    "pause": (lambda _: ["session", "shop"], (), Action.PAUSE, 1),
    "resume": (lambda _: ["session", "shop"], (), Action.RESUME, 0),
    "cancel": (_received, (), Action.CANCEL, 1),
    "token": (lambda _: ["shop"], ("--gateway", "waha", "--days", "2"), Action.TOKEN, 1),
    "users add": (lambda _: ["ana"], ("--role", "operator"), Action.USER_ADD, 1),
    "users rotate": (_user, (), Action.USER_ROTATE, 1),
    "users revoke": (_user, (), Action.USER_REVOKE, 1),
    "link": (_failed, (), Action.LINK, 1),
    "webhooks redeliver": (_undelivered, (), Action.REDELIVER, 1),
    "derive": (lambda catalogue: [finished(catalogue).id][:0], ("--yes",), Action.DERIVE, 1),
    "sweep": (lambda catalogue: _received(catalogue)[:0], ("--older-than", "0"), Action.SWEEP, 1),
    "rotate-keys": (_failed_row, (), Action.ROTATE_KEYS, 1),
    "migrate": (lambda _: [], (), Action.MIGRATE, 0),
}


def test_every_command_is_known_to_change_something_or_nothing() -> None:
    for name, command in every_command():
        action = getattr(command.callback, "audited_action", None)
        assert (action is None) == (name in READING or name == "migrate"), f"{name} must be @audited, or only read"
        assert (name in CHANGING) != (name in READING), name


@pytest.mark.parametrize("name", [name for name in CHANGING if name != "migrate"])
def test_each_changing_command_leaves_one_entry(secured: Installation, catalogue: Catalogue, name: str) -> None:
    prepare, options, action, count = CHANGING[name]
    [entry] = entries_of(catalogue, secured, *name.split(), *prepare(catalogue), *options)
    user = pwd.getpwuid(os.getuid()).pw_name
    assert (entry.who, entry.role, entry.via) == ("cli", "admin", "cli")
    assert entry.source == f"{user}@{socket.gethostname()}"
    assert (entry.action, entry.outcome, entry.count) == (action, AuditOutcome.DONE, count)
    assert entry.ended_at is not None
    text = json.dumps(entry.model_dump())
    for secret in ("in-a-url", "127.0.0.1", TOKEN, "://"):
        assert secret not in text


def test_migration_leaves_one_entry_if_it_changes_the_tables(installation: Installation, catalogue: Catalogue) -> None:
    [first] = catalogue.audit.find(AuditFilters(action=Action.MIGRATE))
    assert (first.who, first.outcome, first.target["from"]) == ("cli", "done", "none")
    assert entries_of(catalogue, installation, "migrate") == []


def test_dry_run_and_unconfirmed_command_leave_no_entry(secured: Installation, catalogue: Catalogue) -> None:
    _undelivered(catalogue)
    _failed(catalogue)
    for arguments in (
        ("replay", "--dry-run"),
        ("replay",),
        ("cancel", "--status", "received", "--dry-run"),
        ("delete", UNKNOWN),
        ("derive",),
        ("webhooks", "redeliver"),
        ("webhooks", "redeliver", "--dry-run"),
    ):
        assert entries_of(catalogue, secured, *arguments) == [], arguments


def test_bulk_command_records_its_filters_and_what_it_missed(secured: Installation, catalogue: Catalogue) -> None:
    known = _failed(catalogue)
    [entry] = entries_of(catalogue, secured, "replay", *known, UNKNOWN)
    assert (entry.outcome, entry.count, entry.detail) == ("done", 1, {"missed": 1})
    assert entry.target["ids"] == [*known, UNKNOWN]
    for _ in range(3):
        finished(catalogue, Status.FAILED, of=attachment(session="mall"))
    [bulk] = entries_of(catalogue, secured, "replay", "--session", "mall", "--since", "1d", "--yes")
    assert (bulk.count, bulk.target["session"], bulk.target["matched"]) == (3, "mall", 3)
    assert bulk.target["since"] > 0


def test_new_source_is_recorded_without_its_url_and_key(secured: Installation, catalogue: Catalogue) -> None:
    [media_id] = _failed(catalogue)
    [entry] = entries_of(catalogue, secured, "replay", media_id, "--url", "https://media.example/again?sig=hush")
    assert (entry.action, entry.count) == (Action.NEW_SOURCE, 1)
    assert "media.example" not in json.dumps(entry.model_dump())


def test_token_is_recorded_without_the_token(secured: Installation, catalogue: Catalogue) -> None:
    printed = secured.run("token", "shop", "--gateway", "waha").out.strip()
    [entry] = catalogue.audit.find(AuditFilters(action=Action.TOKEN))
    assert entry.target["session"] == "shop"
    text = json.dumps(entry.model_dump())
    assert not [part for part in printed.split(".") if len(part) > 8 and part in text]


def test_tokens_of_users_are_recorded_by_id_only(installation: Installation, catalogue: Catalogue) -> None:
    token = installation.run("users", "add", "ana", "--role", "viewer", "--sessions", "waha:shop-*").out.strip()
    rotated = installation.run("users", "rotate", "ana").out.strip()
    installation.run("users", "revoke", rotated)  # pasted by mistake
    revoked, renewed, added = catalogue.audit.find(AuditFilters(), limit=3)
    assert (added.action, added.target) == ("user_add", {"name": "ana", "role": "viewer", "sessions": ["waha:shop-*"]})
    assert added.detail == {"token_id": token.split("_")[1]}
    assert (renewed.action, revoked.action, revoked.target) == ("user_rotate", "user_revoke", {"which": "[hidden]"})
    text = json.dumps([entry.model_dump() for entry in (revoked, renewed, added)])
    assert token.split("_", 2)[2] not in text
    assert rotated.split("_", 2)[2] not in text


def test_refused_token_of_a_user_is_recorded_without_an_id(installation: Installation, catalogue: Catalogue) -> None:
    installation.run("users", "add", "ana", "--role", "viewer")
    for arguments in (("add", "ana", "--role", "viewer"), ("rotate", "bob")):
        assert installation.run("users", *arguments).code == 1
        [entry] = catalogue.audit.find(AuditFilters(), limit=1)
        assert (entry.outcome, entry.detail.keys()) == ("failed", {"error"}), "the token never existed"


def test_failed_command_is_recorded_with_its_code(secured: Installation, catalogue: Catalogue) -> None:
    away = secured.with_settings(REDIS_URL="redis://127.0.0.1:1/0")
    [entry] = entries_of(catalogue, away, "sweep")
    assert (entry.outcome, entry.count, entry.detail) == ("failed", 0, {"error": "queue"})


def test_command_without_a_catalogue_to_record_it_does_nothing(secured: Installation, catalogue: Catalogue) -> None:
    [media_id] = _failed(catalogue)
    with catalogue._database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE audit")
    refused = secured.run("delete", media_id, "--yes")
    assert refused.code == 1
    assert "has no tables" in refused.err
    assert secured.run("token", "shop", "--gateway", "waha").out == ""
    record = catalogue.get(media_id)
    assert record
    assert record.status is Status.FAILED


def test_audit_lists_the_newest_first_and_filters(installation: Installation) -> None:
    installation.run("pause", "session", "shop")
    installation.run("resume", "session", "shop")
    shown = installation.run("audit")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[:1]] == ["at"]
    assert ["resume" in lines[1], "pause" in lines[2], "migrate" in lines[3]] == [True] * 3
    assert "session=shop" in lines[1]
    assert [entry["action"] for entry in installation.run("audit", "--action", "pause", "--json").json] == ["pause"]
    nothing = installation.run("audit", "--who", "maria")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "No entries match.\n")
    assert [entry["action"] for entry in installation.run("audit", "--limit", "2", "--jsonl").lines] == [
        "resume",
        "pause",
    ]
    assert installation.run("audit", "--until", "1d", "--json").json == []
    assert installation.run("audit", "--json", "--jsonl").code == 2
    assert installation.run("audit", "--action", "unknown").code == 2


def hostile_entry(catalogue: Catalogue) -> AuditRecord:
    actor = Actor(who=HOSTILE, role="operator", via=Via.API, source="192.0.2.7")
    catalogue.audit.begin(actor, Action.REPLAY, {"session": f"{HOSTILE} outcome=done", "ids": [UNKNOWN, "1" * 32]})
    return catalogue.audit.find(AuditFilters(action=Action.REPLAY))[0]


def test_hostile_names_cannot_control_the_terminal(installation: Installation, catalogue: Catalogue) -> None:
    hostile_entry(catalogue)
    shown = installation.run("audit").out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown.splitlines()) == 3  # the header, this entry, and that of the migration
    assert '"' in shown.split("session=")[1][:1]  # quoted, so that `outcome=done` is no field of its own


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_table_fits_the_terminal_and_breaks_no_id(
    width: int, installation: Installation, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = hostile_entry(catalogue)
    screen = io.StringIO()
    monkeypatch.setattr("esteira.cli.output.console", lambda: Console(file=screen, width=width, highlight=False))
    monkeypatch.setattr("esteira.cli.output.terminal_width", lambda: width)
    row = audit_command._row(entry)
    print_entries(audit_command.COLUMNS, [row], first_line=audit_command.FIRST_LINE, empty="")
    shown = screen.getvalue()
    assert shown.split()[0] == "at"
    assert max(map(len, shown.splitlines())) <= width
    assert UNKNOWN in shown
    assert "1" * 32 in shown
