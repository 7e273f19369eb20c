"""The catalogue: the record of every attachment that was accepted, and how it ended."""

from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.database import CatalogueError
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import (
    Circuit,
    DeliveryFilters,
    DeliveryRecord,
    DeliveryStatus,
    Outgoing,
    Parcel,
    Result,
    Standing,
)
from pipeline.catalogue.engines import WAIT_S
from pipeline.catalogue.failures import Failures
from pipeline.catalogue.filters import Filters, moment_of
from pipeline.catalogue.flights import Flight
from pipeline.catalogue.moves import Finishing
from pipeline.catalogue.pauses import Pause, PauseKind
from pipeline.catalogue.previews import Preview, PreviewState
from pipeline.catalogue.search import Found

__all__ = [
    "WAIT_S",
    "Catalogue",
    "CatalogueError",
    "Circuit",
    "Deliveries",
    "DeliveryFilters",
    "DeliveryRecord",
    "DeliveryStatus",
    "Failures",
    "Filters",
    "Finishing",
    "Flight",
    "Found",
    "Outgoing",
    "Parcel",
    "Pause",
    "PauseKind",
    "Preview",
    "PreviewState",
    "Result",
    "Standing",
    "moment_of",
]
