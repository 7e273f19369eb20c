"""Identification of a file and the check of its type in one call to the sandbox: a call costs more than most checks."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

from av.container import InputContainer

from pipeline.media_types import MEDIA_TYPES, MediaType
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.sniff import identified
from pipeline.sandbox import Refusal
from pipeline.values.kinds import Kind


def examine(file: int, *, kind: str | None, size: int, limits: str) -> dict[str, Any]:
    """The fields of `sniff.identify`, and `checked`: the result of the check of the identified type.

    `kind` is the declared kind, `size` the size of the file in bytes. `checked` holds the type (`name`) and `kind` that
    the check was made for, and `facts`, or `fault` if the check refuses the file. It is missing if the type is not
    allowed or the file is larger than its kind may be. The parent process decides which type and kind the attachment
    gets.
    """
    rules = parse_limits(limits)
    with identified(file, limits=limits) as (content, container):
        media_type = MEDIA_TYPES.get(content["name"] or "")
        if media_type is None or media_type.name not in rules.checks:
            return content
        checked_kind = media_type.kind_for(Kind(kind) if kind else None, sound_only=content["sound_only"])
        if size > rules.bytes_of[checked_kind]:
            return content
        return content | {"checked": _check(file, media_type, checked_kind, limits=limits, container=container)}


def _check(
    file: int, media_type: MediaType, kind: Kind, *, limits: str, container: InputContainer | None
) -> dict[str, Any]:
    check = parse_limits(limits).checks[media_type.name]
    opened = {} if container is None else {"container": container}
    try:
        facts = _function(check)(file, name=media_type.name, kind=kind, limits=limits, **opened)
    except Refusal as refusal:
        return {"name": media_type.name, "kind": kind, "fault": refusal.answer}
    return {"name": media_type.name, "kind": kind, "facts": facts}


@cache
def _function(name: str) -> Callable[..., dict[str, Any]]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


# Imported when the child starts, so that no file's time and memory limits pay for it.
for _media_type in MEDIA_TYPES.values():
    _function(_media_type.check)
