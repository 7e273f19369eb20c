"""Filters of listings."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from pipeline.models import Kind, Model, Stage, Status, Text

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Filters(Model):
    """Filters, all of which must match. `error` is an error code, `since` a Unix time in milliseconds."""

    status: Status | None = Field(default=None, description="The status.")
    session: Text = Field(default=None, description="The exact name of a session.")
    error: Text = Field(default=None, description="An error code, such as `source_gone`.")
    stage: Stage | None = Field(default=None, description="The stage that was reached last.")
    kind: Kind | None = Field(default=None, description="The kind.")
    since: int | None = Field(default=None, ge=0, lt=2**63)

    def parameters(self) -> dict[str, Any]:
        """The filters that are set, except `since`, as plain values."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"since"})


def parse_since(text: str) -> int:
    """Parses an age such as `2h` or `3d`, or an ISO date or time, to Unix milliseconds. Dates before 1970 become 1970.

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
