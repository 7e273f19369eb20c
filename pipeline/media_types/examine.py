"""What a file is, and at once the check of its type: one call in the sandbox instead of two."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

from pipeline.errors import PermanentError
from pipeline.media_types import MEDIA_TYPES
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.sniff import identify
from pipeline.models.kinds import Kind


def examine(path: str, *, kind: str | None, size: int, limits: str) -> dict[str, Any]:
    """What `identify` says, and as `checked` what the check of that type says: with `facts`, or `fault` if it refuses.

    `kind` is the declared one, `size` that of the file in bytes. Nothing is checked that is of no type that is let in,
    or larger than its kind may be. `checked` names the type and the kind that it was made for: what an attachment is
    taken for is not decided here.
    """
    content = identify(path, limits=limits)
    rules = parse_limits(limits)
    row = MEDIA_TYPES.get(content["name"] or "")
    check = rules.checks.get(row.name) if row else None
    if row is None or check is None:
        return content
    taken_as = row.kind_for(Kind(kind) if kind else None, sound_only=content["sound_only"])
    if size > rules.bytes_of[taken_as]:
        return content
    return content | {"checked": _check(path, check, name=row.name, kind=taken_as, limits=limits)}


def _check(path: str, check: str, *, name: str, kind: Kind, limits: str) -> dict[str, Any]:
    try:
        facts = _function(check)(path, name=name, kind=kind, limits=limits)
    except PermanentError as error:
        return {"name": name, "kind": kind, "fault": {"code": error.code, "message": error.message}}
    return {"name": name, "kind": kind, "facts": facts}


@cache
def _function(name: str) -> Callable[..., dict[str, Any]]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


for _row in MEDIA_TYPES.values():  # within a call it would be at the cost of a file
    _function(_row.check)
