"""The tokens of users, and what was ended before its time: tokens of sessions, logins, all logins of a user."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Executable, bindparam, delete, insert, or_, select, update

from pipeline.catalogue.database import Database
from pipeline.catalogue.dialects import PerDialect
from pipeline.catalogue.dialects import insert as insert_for
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import ended_access, user_tokens
from pipeline.errors import Code, PermanentError
from pipeline.security.roles import Role
from pipeline.security.scopes import Scope, parse_scope
from pipeline.security.tokens import LOGIN_LIFETIME_S


class UserToken(NamedTuple):
    """A token of a user. Times are Unix ms. `used_at` is coarse; `expires_at` is None if it does not expire."""

    id: str
    name: str
    role: Role
    scope: Scope
    secret_hash: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None

    def is_active(self, now: int) -> bool:
        """Whether it is valid at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Ended(NamedTuple):
    """Something that was ended at a time. It need not be remembered after `until`, when it would have expired."""

    at: int
    until: int


class AccessSnapshot(NamedTuple):
    """All tokens by id, and all that was ended, by subject (see `subject`)."""

    tokens: Mapping[str, UserToken]
    ended: Mapping[str, Ended]


_p = bindparam
_COLUMNS = tuple(user_tokens.c[name] for name in UserToken._fields)
_ACTIVE = user_tokens.c.revoked_at.is_(None) & or_(
    user_tokens.c.expires_at.is_(None), user_tokens.c.expires_at > _p("now")
)
ALL = select(*_COLUMNS).order_by(user_tokens.c.name, user_tokens.c.created_at)
ADD = insert(user_tokens).values({name: _p(name) for name in UserToken._fields})
ACTIVE_OF = select(*_COLUMNS).where(user_tokens.c.name == _p("name"), _ACTIVE).order_by(user_tokens.c.created_at)
REVOKE = (
    update(user_tokens)
    .where(or_(user_tokens.c.name == _p("which"), user_tokens.c.id == _p("which")), _ACTIVE)
    .values(revoked_at=_p("at"))
    .returning(user_tokens.c.id, user_tokens.c.name)
)
SHORTEN = (
    update(user_tokens)
    .where(
        user_tokens.c.name == _p("name"),
        user_tokens.c.revoked_at.is_(None),
        or_(user_tokens.c.expires_at.is_(None), user_tokens.c.expires_at > _p("until")),
    )
    .values(expires_at=_p("until"))
)
USED = update(user_tokens).where(user_tokens.c.id == _p("which")).values(used_at=_p("at"))
ENDED = select(ended_access.c.subject, ended_access.c.at, ended_access.c.until).where(ended_access.c.until > _p("now"))
FORGET = delete(ended_access).where(ended_access.c.until <= _p("now"))


def _end(dialect: str) -> Executable:
    statement = insert_for(dialect, ended_access).values(subject=_p("subject"), at=_p("at"), until=_p("until"))
    newest = {name: statement.excluded[name] for name in ("at", "until")}
    return statement.on_conflict_do_update(index_elements=["subject"], set_=newest)  # type: ignore[no-any-return]


END = PerDialect(_end)


def subject(kind: str, name: str) -> str:
    """The key of something that is ended: `session-token`, `login`, or `logins-of` for all logins of a user."""
    return f"{kind}:{name}"


class UserTokens:
    """The tables `user_tokens` and `ended_access`. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, *, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def all(self) -> list[UserToken]:
        """All tokens by name, also those that are revoked or have expired."""
        return [_token(row) for row in self._database.read(lambda session: session.rows(ALL))]

    def snapshot(self) -> AccessSnapshot:
        """Everything that is needed to check tokens and logins."""

        def work(session: Session) -> AccessSnapshot:
            tokens = {row[0]: _token(row) for row in session.rows(ALL)}
            ended = {row[0]: Ended(row[1], row[2]) for row in session.rows(ENDED, now=self._now())}
            return AccessSnapshot(tokens, ended)

        return self._database.read(work)

    def add(self, token: UserToken) -> None:
        """Adds the first token of a user.

        Raises:
            PermanentError: `bad_payload`: the user has a valid token already.
        """

        def work(session: Session) -> None:
            if session.rows(ACTIVE_OF, name=token.name, now=self._now()):
                raise PermanentError(
                    Code.BAD_PAYLOAD,
                    f"{token.name} has a token: `esteira users rotate {token.name}` makes a new one, "
                    f"`esteira users revoke {token.name}` ends it",
                )
            session.execute(ADD, **_row(token))

        self._database.write(work)

    def rotate(self, name: str, new: Callable[[UserToken], UserToken], *, overlap_ms: int) -> UserToken | None:
        """Adds the token that `new` makes of the user's newest one; the old ones expire after the overlap.

        All logins of the user end at once. None if the user has no valid token.
        """

        def work(session: Session) -> UserToken | None:
            now = self._now()
            active = session.rows(ACTIVE_OF, name=name, now=now)
            if not active:
                return None
            token = new(_token(active[-1]))
            session.execute(SHORTEN, name=name, until=now + overlap_ms)
            session.execute(ADD, **_row(token))
            logins = {"subject": subject("logins-of", name), "at": now, "until": now + LOGIN_LIFETIME_S * 1000}
            session.execute(END[self._database.dialect], **logins)
            return token

        return self._database.write(work)

    def revoke(self, which: str) -> list[tuple[str, str]]:
        """Revokes all tokens of a user, or the token with this id. Returns the id and the user of each."""
        now = self._now()
        rows = self._database.write(lambda session: session.rows(REVOKE, which=which, now=now, at=now))
        return [(row[0], row[1]) for row in rows]

    def mark_used(self, token_ids: Collection[str], *, at: int) -> None:
        """Notes when these tokens were used."""

        def work(session: Session) -> None:
            for token_id in sorted(token_ids):  # the same order everywhere, to avoid deadlocks between writers
                session.execute(USED, which=token_id, at=at)

        if token_ids:
            self._database.write(work)

    def end(self, subjects: Mapping[str, Ended]) -> None:
        """Records what has ended, and forgets what would have expired by now."""

        def work(session: Session) -> None:
            session.execute(FORGET, now=self._now())
            for name, ended in sorted(subjects.items()):
                session.execute(END[self._database.dialect], subject=name, at=ended.at, until=ended.until)

        if subjects:
            self._database.write(work)


def _token(row: Sequence[Any]) -> UserToken:
    fields = dict(zip(UserToken._fields, row, strict=True))
    return UserToken(**{**fields, "role": Role(fields["role"]), "scope": parse_scope(json.loads(fields["scope"]))})


def _row(token: UserToken) -> dict[str, Any]:
    return {**token._asdict(), "role": token.role.value, "scope": json.dumps(token.scope.texts())}
