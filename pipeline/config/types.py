"""Types of the values of settings: numbers within limits, networks, lists separated by commas."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from pipeline.config.parsers import as_network

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Port = Annotated[int, Field(ge=1, le=65535)]
# Up to 1e9, no sum of settings overflows in Redis, a database or the kernel.
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Measure = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]


def as_list(value: Any) -> Any:
    """Splits a text at its commas; values other than text are unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[Annotated[Network, BeforeValidator(as_network)], ...], NoDecode, BeforeValidator(as_list)]
