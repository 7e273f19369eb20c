"""Outcomes as workers publish them, without the work."""

from __future__ import annotations

import itertools
from typing import Any

from pipeline.models import Outcome

_number = itertools.count(1)


def outcome(*, session: str = "shop", kind: str = "media.done", **fields: Any) -> Outcome:
    """A new outcome; each call returns another one."""
    number = next(_number)
    ids = {"event_id": f"{number:032x}", "id": f"{number:032d}", "message_id": f"m{number}"}
    given = {**ids, "gateway": "media", **fields}
    return Outcome(type=kind, at="2026-01-01T00:00:00.000Z", session=session, **given)
