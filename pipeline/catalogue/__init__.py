"""The catalogue: the database with the record and the outcome of every accepted attachment."""

from pipeline.catalogue.audit_models import Action, Actor, AuditFilters, AuditOutcome, AuditRecord, Via
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.claim_writes import FinishRequest
from pipeline.catalogue.database import CatalogueError
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import (
    DeliveryAttempt,
    DeliveryFilters,
    DeliveryRecord,
    DeliveryResult,
    DeliveryStatus,
    EndpointCircuit,
    EndpointStats,
    OutgoingEvent,
)
from pipeline.catalogue.engines import WAIT_S
from pipeline.catalogue.failures import FailureGroup
from pipeline.catalogue.filters import Filters, parse_since
from pipeline.catalogue.pauses import Pause, PauseKind
from pipeline.catalogue.previews import Preview, PreviewState
from pipeline.catalogue.search import SearchResult
from pipeline.catalogue.single_flight import SingleFlight

__all__ = [
    "WAIT_S",
    "Action",
    "Actor",
    "AuditFilters",
    "AuditOutcome",
    "AuditRecord",
    "Catalogue",
    "CatalogueError",
    "Deliveries",
    "DeliveryAttempt",
    "DeliveryFilters",
    "DeliveryRecord",
    "DeliveryResult",
    "DeliveryStatus",
    "EndpointCircuit",
    "EndpointStats",
    "FailureGroup",
    "Filters",
    "FinishRequest",
    "OutgoingEvent",
    "Pause",
    "PauseKind",
    "Preview",
    "PreviewState",
    "SearchResult",
    "SingleFlight",
    "Via",
    "parse_since",
]
