"""Everything that goes out over HTTP: to public addresses only, within limits of time and size."""

from pipeline.outbound.body import Body
from pipeline.outbound.client import Outbound, Reply
from pipeline.outbound.clock import Allowance
from pipeline.outbound.pace import Comer, HostRates, LocalPace, Pace

__all__ = ["Allowance", "Body", "Comer", "HostRates", "LocalPace", "Outbound", "Pace", "Reply"]
