"""Frozen models: the attachment, the results of the steps, the catalogue's row, claims and outcomes."""

from pipeline.models.attachment import Attachment, Fault, parse_attachment
from pipeline.models.base import MAX_URL, Model, Text
from pipeline.models.claim import Accepted, Claim, ContentMatch, Refusal
from pipeline.models.outcome import Failure, LostSource, Outcome
from pipeline.models.record import REPLAYABLE, Record, Stage, Status, StoredRecord
from pipeline.models.steps import Checked, Detected, Facts, Fetched, GoneSource, Stored, Validated
from pipeline.values.kinds import Kind

__all__ = [
    "MAX_URL",
    "REPLAYABLE",
    "Accepted",
    "Attachment",
    "Checked",
    "Claim",
    "ContentMatch",
    "Detected",
    "Facts",
    "Failure",
    "Fault",
    "Fetched",
    "GoneSource",
    "Kind",
    "LostSource",
    "Model",
    "Outcome",
    "Record",
    "Refusal",
    "Stage",
    "Status",
    "Stored",
    "StoredRecord",
    "Text",
    "Validated",
    "parse_attachment",
]
