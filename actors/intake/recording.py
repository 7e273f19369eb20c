"""Records an attachment: its inline bytes in storage, then its row in the catalogue."""

from __future__ import annotations

from pathlib import Path

from actors.intake.uploads import put_intake
from actors.observability.tracer import PhaseTimer
from pipeline.errors import RetryableError
from pipeline.intake_services import IntakeServices
from pipeline.models import Accepted, Attachment, Record
from pipeline.storage import intake_key


def has_bytes(attachment: Attachment, file: Path | None) -> bool:
    """Whether an attachment comes with its bytes, as base64 or as a local file."""
    return file is not None or bool(attachment.data)


def record_attachment(
    services: IntakeServices, attachment: Attachment, file: Path | None, timer: PhaseTimer
) -> Accepted:
    """Writes inline bytes to storage, and the attachment to the catalogue.

    Raises:
        PayloadError: `data` is not base64.
        RetryableError: `catalogue` or `storage`.
    """
    storage, catalogue = services.storage, services.catalogue
    inline = has_bytes(attachment, file)
    if inline and (known := _known(services, attachment)):
        catalogue.increment("duplicates")
        return Accepted(id=known.id, status=known.status, fresh=False)
    if inline:
        put_intake(storage, attachment.id, data=attachment.data, file=file)
        timer.mark("intake")
    accepted = catalogue.accept(attachment, intake=inline)
    timer.mark("accept")
    # A maintenance task may have removed the bytes before the row was there; see `remove_leftover_intake`.
    if accepted.fresh and inline and not _has_intake(services, accepted.id):
        put_intake(storage, accepted.id, data=attachment.data, file=file)
    return accepted


def _known(services: IntakeServices, attachment: Attachment) -> Record | None:
    ids = filter(None, (attachment.id, attachment.former_id))
    return next(filter(None, map(services.catalogue.get, ids)), None)


def _has_intake(services: IntakeServices, media_id: str) -> bool:
    try:
        return services.storage.size(intake_key(media_id)) is not None
    except RetryableError:  # they were written a moment ago, and the row exists
        return True
