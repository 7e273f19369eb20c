"""What narrows a listing."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipeline.models import Kind, Model, Stage, Status, Text


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
