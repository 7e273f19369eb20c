"""What recording an attachment needs: a part of the services, which a listener opens without the extra `worker`."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.catalogue import Catalogue
from pipeline.config.settings import Settings
from pipeline.scrubber import hide_secrets
from pipeline.storage import Storage, open_storage
from pipeline.storage.staging import Staging


@dataclass(frozen=True)
class IntakeServices:
    """The objects that `process_media()` needs. `pipeline.services.Services` has them too, and all others."""

    settings: Settings
    catalogue: Catalogue
    storage: Storage
    staging: Staging


def open_intake_services(settings: Settings, *, wait_s: float) -> IntakeServices:
    """Opens them. `wait_s` is how long a call to the catalogue waits for locks.

    Raises:
        SettingsError: a setting is wrong, or its extra is missing.
    """
    hide_secrets(settings.secrets())
    return IntakeServices(
        settings=settings,
        catalogue=Catalogue(settings.database, keys=settings.source_keys, durable=settings.intake_sync, wait_s=wait_s),
        storage=open_storage(settings.storage),
        staging=Staging(settings.staging),
    )
