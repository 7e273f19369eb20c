"""`Services.notify_many` announces and finishes several attachments, each with its own result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.catalogue import DeliveryFilters
from pipeline.config.settings import load_settings
from pipeline.errors import SupersededError
from pipeline.models import Claim, Failure, Outcome, Record, Status
from pipeline.services import Services, build_services
from tests.support.catalogues import attachment, claimed, failure, mark_stored, stored
from tests.support.webhooks import endpoints


class RecordingNotifier:
    """A notifier that records the ids of each call."""

    def __init__(self) -> None:
        self.ids: list[list[str]] = []

    def __call__(self, outcome: Outcome) -> None:
        self.publish_all([outcome])

    def publish_all(self, outcomes: Sequence[Outcome]) -> None:
        self.ids.append([one.id for one in outcomes])


@pytest.fixture
def notifier() -> RecordingNotifier:
    return RecordingNotifier()


@pytest.fixture
def services(tmp_path: Path, notifier: RecordingNotifier) -> Iterator[Services]:
    given = endpoints(
        {"name": "crm", "url": "http://127.0.0.1:9/"},
        {"name": "bad", "url": "http://127.0.0.1:9/", "types": ["media.failed"]},
    )
    settings = load_settings(
        _env_file=None, var_dir=tmp_path, webhook_endpoints=given, fetch_allow_private="127.0.0.0/8"
    )
    with closing(replace(build_services(settings), notifiers=[notifier])) as made:
        made.catalogue.migrate()
        yield made


def staged(services: Services, *, store: bool = True) -> Claim:
    """A claim on an attachment with a staged file, which is stored or still without outcome."""
    claim = claimed(services.catalogue, services.catalogue.accept(attachment()).id)
    services.staging.folder.mkdir(exist_ok=True)
    (services.staging.folder / claim.id).write_bytes(b"bytes")
    return claim.model_copy(update={"record": mark_stored(services.catalogue, claim, stored())}) if store else claim


def test_notify_many_finishes_each_in_order(services: Services, notifier: RecordingNotifier) -> None:
    rung: list[str] = []
    for name in ("crm", "bad"):
        services.webhooks.set_waker(name, lambda name=name: rung.append(name))
    done, lost, last = (staged(services) for _ in range(3))
    failed, gone = (staged(services, store=False) for _ in range(2))
    claimed(services.catalogue, lost.id, takeover=True)
    claimed(services.catalogue, gone.id, takeover=True)
    work: list[tuple[Claim, Failure | None]] = [
        (done, None), (lost, None), (failed, failure()), (gone, failure()), (last, None),
    ]  # fmt: skip
    found = services.notify_many(work)
    assert [one.status if isinstance(one, Record) else type(one) for one in found] == [
        Status.DONE, SupersededError, Status.FAILED, SupersededError, Status.DONE,
    ]  # fmt: skip
    assert [one.id for one in found if isinstance(one, Record)] == [done.id, failed.id, last.id]
    assert notifier.ids == [[done.id, lost.id, failed.id, last.id]]
    assert [services.staging.exists(claim.id) for claim in (done, failed, last)] == [False, True, False]
    written = services.catalogue.deliveries.find(DeliveryFilters())
    assert sorted((one.media_id, one.endpoint) for one in written) == sorted(
        [(done.id, "crm"), (failed.id, "crm"), (failed.id, "bad"), (last.id, "crm")]
    )
    assert sorted(rung) == ["bad", "crm"]


def test_notify_many_without_work_does_nothing(services: Services, notifier: RecordingNotifier) -> None:
    assert services.notify_many([]) == []
    assert notifier.ids == []
