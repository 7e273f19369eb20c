"""Limits statements to the sessions of a scope.

Texts are compared as they are: LIKE ignores case on SQLite and would read `%` and `_` in a session's name, and an order
comparison depends on the collation of the database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, false, func, or_

from pipeline.security.scopes import Scope

# One entry for each pattern: whether it names a gateway, and whether it is a prefix. None for all sessions. Statements
# are built once for each shape.
ScopeShape = tuple[tuple[bool, bool], ...] | None


def shape_of(scope: Scope) -> ScopeShape:
    """The shape of a scope."""
    if scope.patterns is None:
        return None
    return tuple((pattern.gateway is not None, pattern.is_prefix) for pattern in scope.patterns)


def parameters_of(scope: Scope) -> dict[str, Any]:
    """The parameters of `conditions_of` for a scope."""
    values: dict[str, Any] = {}
    for index, pattern in enumerate(scope.patterns or ()):
        values[f"scope_name_{index}"] = pattern.name
        if pattern.gateway is not None:
            values[f"scope_gateway_{index}"] = pattern.gateway
        if pattern.is_prefix:
            values[f"scope_length_{index}"] = len(pattern.name)
    return values


def conditions_of(shape: ScopeShape, columns: Any) -> list[ColumnElement[bool]]:
    """The condition on the columns `gateway` and `session` of a table or subquery; none for all sessions."""
    if shape is None:
        return []
    patterns = [_pattern(index, columns, *form) for index, form in enumerate(shape)]
    return [or_(*patterns) if patterns else false()]


def _pattern(index: int, columns: Any, names_gateway: bool, is_prefix: bool) -> ColumnElement[bool]:
    name: Any = bindparam(f"scope_name_{index}")
    length = bindparam(f"scope_length_{index}", type_=Integer)
    session = func.substr(columns.session, 1, length) == name if is_prefix else columns.session == name
    return and_(columns.gateway == bindparam(f"scope_gateway_{index}"), session) if names_gateway else session
