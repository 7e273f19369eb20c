"""Endpoints and events for webhook tests."""

from __future__ import annotations

import base64
import json
from typing import Any

from pipeline.catalogue import Catalogue, DeliveryFilters, DeliveryRecord, OutgoingEvent
from pipeline.models import Record
from tests.support.catalogues import attachment, claimed, mark_stored, stored
from tests.support.media_server import MediaServer, Request

SECRET = "whsec_" + base64.b64encode(b"a-secret-of-twenty-four-b").decode()
OLDER = "whsec_" + base64.b64encode(b"the-one-before-it-24-bytes").decode()


def endpoints(*given: dict[str, Any]) -> str:
    """The value of WEBHOOK_ENDPOINTS; a secret is added where there is none."""
    return json.dumps([{"secret": SECRET, **one} for one in given])


def posts(server: MediaServer, name: str) -> list[Request]:
    """What was sent to this endpoint, in order."""
    return [request for request in server.requests if request.method == "POST" and request.path == f"/{name}"]


def event_ids(server: MediaServer, name: str) -> list[str]:
    """The ids of the events that were sent to this endpoint, in order."""
    return [request.headers["webhook-id"] for request in posts(server, name)]


def announced_record(
    catalogue: Catalogue, *names: str, body: str = '{"caption":"words"}', session: str = "shop"
) -> Record:
    """A finished attachment with an event for these endpoints."""
    claim = claimed(catalogue, catalogue.accept(attachment(session=session)).id)
    mark_stored(catalogue, claim, stored())
    return catalogue.finish(claim, announced=True, outgoing=OutgoingEvent(claim.id, "media.done", body, names))


def deliveries_of(catalogue: Catalogue, record: Record) -> list[DeliveryRecord]:
    return [one for one in reversed(catalogue.deliveries.find(DeliveryFilters())) if one.media_id == record.id]
