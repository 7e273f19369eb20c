"""`esteira users`: people and programs with their own tokens, each with a role and sessions."""

from __future__ import annotations

import re
import time
from typing import Any

import rich_click as click

from actors.operations.audit import AuditEntry
from esteira.cli.audited import audited
from esteira.cli.environment import settings_for_command
from esteira.cli.output import examples, local_time, print_json, print_message, print_table
from esteira.cli.services import shared_catalogue
from pipeline.catalogue import Action
from pipeline.catalogue.user_tokens import Ended, UserToken, subject
from pipeline.errors import Code, PermanentError
from pipeline.security.callers import RESERVED_NAMES
from pipeline.security.roles import USER_ROLES, Role
from pipeline.security.scopes import ALL_SESSIONS, Scope, parse_scope, split_list
from pipeline.security.tokens import MAX_TOKEN_DAYS, is_session_token_id
from pipeline.security.user_tokens import NewToken, is_user_name, new_token

DAY_MS = 24 * 3600 * 1000
COLUMNS = ("name", "id", "role", "sessions", "created", "last used", "expires", "state")
NO_DASHBOARD = (
    "API_TOKEN is not set: this token opens the HTTP API and live events. "
    "The dashboard's login and links to contents need API_TOKEN."
)
_DAYS = re.compile(r"([0-9]{1,4})d", re.ASCII)


class Days(click.ParamType[int]):
    """A number of days such as `90d`, as milliseconds."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _DAYS.fullmatch(str(value))
        if not match or not 0 < int(match[1]) <= MAX_TOKEN_DAYS:
            self.fail(f"{value!r} is not a number of days from 1d to {MAX_TOKEN_DAYS}d, such as 90d", param, ctx)
        return int(match[1]) * DAY_MS


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("esteira users add ana --role viewer", "esteira users list", "esteira users revoke ana"),
)
def users() -> None:
    """Gives people and programs tokens of their own, lists them, and revokes them.

    \b
    admin     everything
    operator  reads; replays, cancels, pauses, redelivers webhooks
    viewer    reads
    intake    hands attachments over to POST /hooks/media, and nothing else

    A token opens the HTTP API, live events and, unless its role is intake, the dashboard.
    """


@users.command(
    "add",
    epilog=examples(
        "esteira users add ana --role operator",
        "esteira users add support --role viewer --sessions 'waha:shop-*,cloud:5511*' --expires 90d",
        "esteira users add importer --role intake --sessions media:archive",
    ),
)
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(list(map(str, USER_ROLES))), help="What it may do.")
@click.option(
    "--sessions",
    metavar="PATTERNS",
    help="Only these sessions: `gateway:name`, separated by commas; `*` at the end of a name, or for all gateways. "
    "Default: all sessions.",
)
@click.option("--expires", type=Days(), metavar="DAYS", help="When the token ends: `90d`. Default: never.")
@audited(Action.USER_ADD)
def add(entry: AuditEntry, name: str, role: str, sessions: str | None, expires: int | None) -> None:
    """Adds a user and prints the token, which is shown only now."""
    if not is_user_name(name) or name in RESERVED_NAMES:
        raise click.UsageError(f"{name!r} is no name: use 1 to 64 letters, digits and ._@-, and none of our own names")
    scope = _scope(sessions)
    tokens = shared_catalogue().user_tokens
    new, now = new_token(), _now_ms()
    entry.begin({"name": name, "role": role, "sessions": scope.texts()})
    expires_at = now + expires if expires is not None else None
    tokens.add(UserToken(new.id, name, Role(role), scope, new.secret_hash, now, expires_at))
    entry.note(token_id=new.id)
    click.echo(new.text)
    if settings_for_command().api_token is None and role != Role.INTAKE:
        print_message(NO_DASHBOARD)


@users.command(
    "rotate", epilog=examples("esteira users rotate ana", "esteira users rotate ana --overlap 0 --expires 90d")
)
@click.argument("name")
@click.option(
    "--overlap",
    type=click.IntRange(0, 30 * 24),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long the old token stays valid.",
)
@click.option("--expires", type=Days(), metavar="DAYS", help="When the new token ends. Default: never.")
@audited(Action.USER_ROTATE)
def rotate(entry: AuditEntry, name: str, overlap: int, expires: int | None) -> None:
    """Prints a new token for a user, with the same role and sessions. The user's logins to the dashboard end."""
    tokens = shared_catalogue().user_tokens
    new, now = new_token(), _now_ms()
    entry.begin({"name": name, "overlap_h": overlap})
    expires_at = now + expires if expires is not None else None

    def successor(token: UserToken) -> UserToken:
        return _successor(token, new, created_at=now, expires_at=expires_at)

    if tokens.rotate(name, successor, overlap_ms=overlap * 3600 * 1000) is None:
        raise PermanentError(Code.NOT_FOUND, f"no user with a valid token is called {name}; see `esteira users list`")
    entry.note(token_id=new.id)
    click.echo(new.text)


@users.command("revoke", epilog=examples("esteira users revoke ana", "esteira users revoke 3f2a9c01d4e7"))
@click.argument("which", metavar="NAME|ID")
@audited(Action.USER_REVOKE)
def revoke(entry: AuditEntry, which: str) -> None:
    """Ends all tokens of a user, or the token with this id, also one of `esteira token`.

    The web app refuses it within seconds. Its links, logins and open connections end too.
    """
    tokens = shared_catalogue().user_tokens
    entry.begin({"which": which})
    revoked = tokens.revoke(which)
    entry.count = len(revoked)
    if not revoked and is_session_token_id(which):
        now = _now_ms()
        tokens.end({subject("session-token", which): Ended(now, now + MAX_TOKEN_DAYS * DAY_MS)})
        entry.count = 1
        click.echo(f"session token {which} is revoked")
    elif not revoked:
        raise PermanentError(Code.NOT_FOUND, f"no valid token is called {which}; see `esteira users list`")
    for token_id, name in revoked:
        click.echo(f"{token_id} of {name} is revoked")


@users.command("list", epilog=examples("esteira users list", "esteira users list --all --json"))
@click.option("--all", "everything", is_flag=True, help="Also revoked and expired tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array; times are Unix milliseconds.")
def list_(everything: bool, as_json: bool) -> None:
    """Lists the users' tokens: never the secrets, which are not stored. `last used` is coarse, to ten minutes."""
    now = _now_ms()
    tokens = [token for token in shared_catalogue().user_tokens.all() if everything or token.is_active(now)]
    if as_json:
        print_json([_json(token, now) for token in tokens])
        return
    print_table(COLUMNS, (_row(token, now) for token in tokens), footer=None if tokens else "there are no users")
    if not tokens:
        print_message("add one with `esteira users add NAME --role viewer`")


def _scope(sessions: str | None) -> Scope:
    if sessions is None:
        return ALL_SESSIONS
    try:
        return parse_scope(split_list(sessions))
    except ValueError as error:
        raise click.UsageError(f"--sessions: {error}") from None


def _successor(token: UserToken, new: NewToken, *, created_at: int, expires_at: int | None) -> UserToken:
    return UserToken(new.id, token.name, token.role, token.scope, new.secret_hash, created_at, expires_at)


def _state(token: UserToken, now: int) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "valid" if token.is_active(now) else "expired"


def _row(token: UserToken, now: int) -> tuple[str, ...]:
    times = (local_time(token.created_at), local_time(token.used_at), local_time(token.expires_at))
    return token.name, token.id, token.role, str(token.scope), *times, _state(token, now)


def _json(token: UserToken, now: int) -> dict[str, Any]:
    fields = {name: value for name, value in token._asdict().items() if name != "secret_hash"}
    return {**fields, "scope": token.scope.texts(), "state": _state(token, now)}


def _now_ms() -> int:
    return int(time.time() * 1000)
