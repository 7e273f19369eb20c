"""What narrows a listing."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from pipeline.models import Kind, Model, Stage, Status, Text

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Filters(Model):
    """Every filter that is set must hold. `error` is an error's code, `since` a Unix time in milliseconds."""

    status: Status | None = None
    session: Text = None
    error: Text = None
    stage: Stage | None = None
    kind: Kind | None = None
    since: int | None = Field(default=None, ge=0, lt=2**63)

    def given(self) -> dict[str, Any]:
        """The filters that are set, but for `since`, as plain values."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"since"})


def parse_since(text: str) -> int:
    """Unix milliseconds of `2h`, `3d` (so long ago) or of an ISO date or time; what was before 1970 is 1970.

    Raises:
        ValueError: it is neither.
    """
    age = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip(), re.ASCII)
    try:
        if age:
            seconds = time.time() - timedelta(**{UNITS[age[2]]: int(age[1])}).total_seconds()
        else:
            seconds = datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is neither an age such as 30m, 2h, 3d nor a date such as 2026-11-22") from None
    return max(0, int(seconds * 1000))
