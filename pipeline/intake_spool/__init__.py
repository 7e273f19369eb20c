"""The intake spool: a local folder with the attachments that were handed over while the catalogue is away."""

from pipeline.intake_spool.entry import DamagedEntryError, EntryName, SpooledAttachment
from pipeline.intake_spool.folder import IntakeSpool, SpoolStatus, SpoolUnavailableError, open_spool

__all__ = [
    "DamagedEntryError",
    "EntryName",
    "IntakeSpool",
    "SpoolStatus",
    "SpoolUnavailableError",
    "SpooledAttachment",
    "open_spool",
]
