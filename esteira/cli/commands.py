"""The table of commands: where each is defined, and its line in `esteira --help`, so that the help imports none."""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import NamedTuple

import rich_click as click

from esteira.cli.tool_install import ensure_extra


class Entry(NamedTuple):
    """A command as `module:attribute`, the first paragraph of its help, and the extra that it cannot run without."""

    path: str
    help: str
    extra: str = ""


COMMANDS: MappingProxyType[str, Entry] = MappingProxyType(
    {
        "start": Entry(
            "esteira.cli.start:start",
            "Starts everything on this machine: Valkey (unless REDIS_* is set), the web app and the workers.",
            extra="worker",
        ),
        "reload": Entry(
            "esteira.cli.reload:reload",
            "Replaces web app and workers of the running `esteira start` without refusing a hook.",
        ),
        "submit": Entry(
            "esteira.cli.submit:submit",
            "Hands over attachments for processing: URLs, local files, or lines of JSON with --jsonl.",
        ),
        "status": Entry(
            "esteira.cli.status:status",
            "Shows one attachment: its fields, every attempt at every stage, and what to do if it failed.",
        ),
        "list": Entry("esteira.cli.list:list_", "Lists attachments, newest first."),
        "failures": Entry(
            "esteira.cli.failures:failures",
            "Shows failed, rejected and expired attachments, grouped by error code and stage, and what to do about "
            "them.",
        ),
        "replay": Entry(
            "esteira.cli.replay:replay",
            "Processes failed, rejected or expired attachments again, oldest first, from the stage that failed.",
        ),
        "delete": Entry(
            "esteira.cli.delete:delete",
            "Deletes finished attachments permanently: content, bytes kept for a replay, names and captions.",
        ),
        "stats": Entry(
            "esteira.cli.stats:stats",
            "Shows the queue of each stage, the totals since the database was created, and recent processing times.",
        ),
        "workers": Entry(
            "esteira.cli.workers:workers",
            "Lists the worker processes of all hosts, and which attachments they are processing.",
        ),
        "pause": Entry(
            "esteira.cli.pauses:pause",
            "Pauses a stage or a session: its attachments wait in the queue, also across restarts, until it is "
            "resumed.",
        ),
        "resume": Entry("esteira.cli.pauses:resume", "Resumes a paused stage or session."),
        "pauses": Entry("esteira.cli.pauses:pauses", "Lists paused stages and sessions: since when, by whom, and why."),
        "cancel": Entry(
            "esteira.cli.cancel:cancel",
            "Cancels unfinished attachments: they end as `rejected` with the error code `cancelled`, and the event is "
            "sent.",
        ),
        "check": Entry(
            "esteira.cli.check:check",
            "Checks whether local files would be accepted: one line of JSON per file, exit status 1 if any is "
            "rejected.",
            extra="worker",
        ),
        "token": Entry(
            "esteira.cli.tokens:token",
            "Prints a token that can read the attachments of one session over HTTP, and change nothing.",
        ),
        "link": Entry(
            "esteira.cli.tokens:link",
            "Prints a link that opens an attachment's content without a token until it expires.",
        ),
        "users": Entry(
            "esteira.cli.users:users", "Gives people and programs tokens of their own, lists them, and revokes them."
        ),
        "webhooks": Entry(
            "esteira.cli.webhooks:webhooks",
            "Lists events that webhook endpoints have not received, and delivers them again.",
        ),
        "audit": Entry(
            "esteira.cli.audit:audit",
            "Lists the actions that changed something, and those that were refused, newest first.",
        ),
        "derive": Entry(
            "esteira.cli.derive:derive", "Requests previews of stored content that has none, one per content."
        ),
        "rotate-keys": Entry(
            "esteira.cli.rotate_keys:rotate_keys",
            "Encrypts media keys and source URLs with the first key of ENCRYPTION_KEYS.",
        ),
        "settings": Entry(
            "esteira.cli.settings:settings",
            "Prints every setting with its default and its meaning, in the form of a `.env` file.",
        ),
        "sweep": Entry(
            "esteira.cli.sweep:sweep",
            "Requeues unfinished attachments that are missing from the queue. Workers do this regularly by themselves.",
        ),
        "doctor": Entry(
            "esteira.cli.doctor:doctor",
            "Checks Redis, database, storage, staging, decoders, antivirus and settings, and prints a remedy for each "
            "fault.",
        ),
        "migrate": Entry(
            "esteira.cli.migrate:migrate",
            "Creates or updates the database tables. Safe to repeat; `esteira start` does the same first.",
        ),
    }
)


def load_command(name: str) -> click.Command:
    """The command with this name in the table, imported.

    Raises:
        MissingExtraError: the extra that it needs is not installed.
    """
    entry = COMMANDS[name]
    if entry.extra:
        ensure_extra(entry.extra, f"`esteira {name}`")
    module, _, attribute = entry.path.partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


def listed_command(name: str) -> click.Command:
    """A stand-in with the name and the help line of a command, which is all that a list of commands shows."""
    return click.RichCommand(name=name, help=COMMANDS[name].help)
