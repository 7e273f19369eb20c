"""Everything that goes out over HTTP: to public addresses only, within limits of time and size."""

from pipeline.outbound.body import Allowance, Body
from pipeline.outbound.client import Outbound

__all__ = ["Allowance", "Body", "Outbound"]
