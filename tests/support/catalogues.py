"""Attachments, contents and failures for tests of the catalogue."""

from __future__ import annotations

import itertools
from typing import Any

from pipeline.catalogue import Catalogue
from pipeline.errors import Code, or_raise
from pipeline.models import (
    Attachment,
    Claim,
    Detected,
    Facts,
    Failure,
    Fetched,
    Kind,
    Record,
    Refusal,
    Stage,
    Status,
    Stored,
    Validated,
)

MEDIA_KEY = "a-media-key-that-nobody-may-see-in-a-log-or-error="
SHA256 = "ab" * 32
_numbers = itertools.count()


class Clock:
    """A clock in Unix seconds that only a test advances."""

    def __init__(self, now: float = 1_700_000_000) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def attachment(**fields: Any) -> Attachment:
    """An attachment with a unique message id, unless one is given."""
    given = {"session": "shop", "message_id": f"m{next(_numbers)}", "url": "https://media.example/x", **fields}
    return Attachment(**given)


def validated(**facts: Any) -> Validated:
    fetched = Fetched(size=7, sha256=SHA256)
    detected = Detected(
        fetched=fetched, kind=Kind.IMAGE, mime="image/jpeg", ext="jpeg", mismatch="declared as video/mp4"
    )
    return Validated(detected=detected, facts=Facts(**facts))


def stored(**facts: Any) -> Stored:
    return Stored(validated=validated(**facts), storage_key=f"ab/{SHA256}", name="1700000000_ababab.jpeg")


def failure(status: Status = Status.FAILED, stage: Stage = Stage.FETCH, **fields: Any) -> Failure:
    given = {"attempts": 3, "code": Code.FETCH_UNAVAILABLE, "message": "media.example answered 500", **fields}
    return Failure(status=status, stage=stage, **given)


def claimed(catalogue: Catalogue, media_id: str, *, lease_s: float = 60, takeover: bool = False) -> Claim:
    claim = catalogue.claim(media_id, lease_s=lease_s, takeover=takeover)
    assert not isinstance(claim, Refusal), claim
    return claim


def mark_stored(catalogue: Catalogue, claim: Claim, content: Stored) -> Record:
    """Records that this content is stored; raises the error that `Catalogue.mark_stored_many` returns."""
    return or_raise(catalogue.mark_stored_many([(claim, content)])[0])


def finished(catalogue: Catalogue, status: Status = Status.DONE, *, of: Attachment | None = None, **how: Any) -> Record:
    """An attachment that is finished with this status."""
    claim = claimed(catalogue, catalogue.accept(of or attachment()).id)
    if status is Status.DONE:
        mark_stored(catalogue, claim, stored())
    else:
        catalogue.mark_failed(claim, failure(status, **how))
    return catalogue.finish(claim, announced=True)


def counted(totals: dict[str, int]) -> dict[str, int]:
    """The counters of outcomes that are not 0."""
    return {name: n for name, n in totals.items() if n and name in {"stored", "done", "rejected", "failed", "expired"}}
