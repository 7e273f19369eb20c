"""How many finished jobs the queue keeps: BullMQ's removeOnComplete and removeOnFail."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from pipeline.models import Model


class JobRetention(Model):
    """How many finished jobs to keep. `count` None keeps all, 0 none; `age` is in seconds, None keeps any age."""

    count: int | None = Field(default=None, ge=0)
    age: int | None = Field(default=None, ge=0)


def as_job_retention(value: Any) -> Any:
    """Parses BullMQ's forms. Raises ValueError.

    `true` keeps none, `false` keeps all, a number keeps so many, and an object has `age` and `count`.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError('must be true, false, a number or {"age": seconds, "count": n}') from None
    if isinstance(value, bool):
        return JobRetention(count=0) if value else JobRetention()
    if isinstance(value, int):
        return JobRetention(count=value)
    if isinstance(value, dict) and not set(value) <= {"age", "count"}:
        raise ValueError('may only contain "age" and "count"')
    return value
