"""The catalogue: the record of every attachment that was accepted, and how it ended."""

from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.claim_writes import Finishing
from pipeline.catalogue.database import CatalogueError
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import (
    Circuit,
    DeliveryAttempt,
    DeliveryFilters,
    DeliveryRecord,
    DeliveryStatus,
    EndpointStats,
    Outgoing,
    Result,
)
from pipeline.catalogue.engines import WAIT_S
from pipeline.catalogue.failures import Failures
from pipeline.catalogue.filters import Filters, moment_of
from pipeline.catalogue.pauses import Pause, PauseKind
from pipeline.catalogue.previews import Preview, PreviewState
from pipeline.catalogue.search import Found
from pipeline.catalogue.single_flight import SingleFlight

__all__ = [
    "WAIT_S",
    "Catalogue",
    "CatalogueError",
    "Circuit",
    "Deliveries",
    "DeliveryAttempt",
    "DeliveryFilters",
    "DeliveryRecord",
    "DeliveryStatus",
    "EndpointStats",
    "Failures",
    "Filters",
    "Finishing",
    "Found",
    "Outgoing",
    "Pause",
    "PauseKind",
    "Preview",
    "PreviewState",
    "Result",
    "SingleFlight",
    "moment_of",
]
