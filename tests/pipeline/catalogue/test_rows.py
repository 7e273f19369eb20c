"""The declared size and the expiry in a row, by which the queue schedules the attachment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue
from pipeline.errors import Code
from pipeline.models import Attachment, Claim, Failure, Record, Stage, Status
from pipeline.models.replacement_source import NewSource

OE = 0x66B0F5A0


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    catalogue.migrate()
    return catalogue


def accepted(catalogue: Catalogue, *, intake: bool = False, **fields: object) -> Record:
    attachment = Attachment.model_validate({"session": "s", "message_id": "m", "url": "http://a.example/", **fields})
    record = catalogue.get(catalogue.accept(attachment, intake=intake).id)
    assert record
    return record


def test_new_row_has_the_declared_size_and_expiry_in_ms(catalogue: Catalogue) -> None:
    record = accepted(catalogue, size=5, expires_at=1_700_000_000)
    assert (record.size, record.expires_at) == (5, 1_700_000_000_000)


def test_expiry_is_read_from_a_whatsapp_url(catalogue: Catalogue) -> None:
    record = accepted(catalogue, url=f"https://mmg.whatsapp.net/x?oh=1&oe={OE:X}")
    assert (record.size, record.expires_at) == (None, OE * 1000)


def test_inline_bytes_do_not_expire(catalogue: Catalogue) -> None:
    assert accepted(catalogue, intake=True, expires_at=1_700_000_000).expires_at is None


def test_largest_declared_values_fit(catalogue: Catalogue) -> None:
    record = accepted(catalogue, size=2**53, expires_at=2**53)
    assert (record.size, record.expires_at) == (2**53, 2**53 * 1000)


@pytest.mark.parametrize(("source", "place"), [(None, (5, 9000)), (NewSource(url="http://b.example/"), (5, None))])
def test_replay_with_a_new_source_clears_the_old_expiry(
    catalogue: Catalogue, source: NewSource | None, place: tuple[int, int | None]
) -> None:
    record = accepted(catalogue, size=5, expires_at=9)
    claim = catalogue.claim(record.id, lease_s=30)
    assert isinstance(claim, Claim)
    ending = Failure(status=Status.EXPIRED, stage=Stage.FETCH, attempts=1, code=Code.SOURCE_GONE, message="gone")
    catalogue.mark_failed(claim, ending)
    catalogue.finish(claim, announced=True)
    reopened = catalogue.reopen(record.id, source=source)
    assert reopened
    assert (reopened.size, reopened.expires_at) == place
