"""Users with a role and sessions, for tests."""

from __future__ import annotations

from pipeline.catalogue.user_tokens import UserToken
from pipeline.security.roles import Role
from pipeline.security.scopes import parse_scope
from pipeline.security.user_tokens import new_token
from tests.support.system import RunningSystem


def user(system: RunningSystem, name: str, role: Role, *sessions: str) -> str:
    """Adds a user; returns the token."""
    new = new_token()
    scope = parse_scope(sessions or ["*"])
    system.services.catalogue.user_tokens.add(UserToken(new.id, name, role, scope, new.secret_hash, 1))
    return new.text
