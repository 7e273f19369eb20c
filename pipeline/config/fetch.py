"""The settings of downloads: which servers, how many connections, how long. Their proxies are in proxies.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from pipeline.config.parsers import as_host, as_rates
from pipeline.config.proxies import ProxySettings
from pipeline.config.types import Measure, Networks, Port, Positive, as_list

Hosts = Annotated[tuple[Annotated[str, BeforeValidator(as_host)], ...], NoDecode, BeforeValidator(as_list)]


class FetchSettings(ProxySettings):
    """The settings of downloads, named like their environment variables in lower case."""

    fetch_allow_private: Networks = ()
    fetch_ports: Annotated[tuple[Port, ...], NoDecode, BeforeValidator(as_list)] = (80, 443)
    fetch_per_host: Positive = 8
    fetch_per_session: Positive | None = None  # None: three quarters of the threads of each process
    fetch_rate: Annotated[dict[str, Measure], NoDecode, BeforeValidator(as_rates)] = Field(default_factory=dict)
    fetch_once: Literal["session", "all", "off"] = "session"
    fetch_connect_timeout_s: Measure = 5
    fetch_read_timeout_s: Measure = 15
    fetch_deadline_s: Measure = 60  # plus one second for each FETCH_MIN_BYTES_PER_S of the file
    fetch_min_bytes_per_s: Positive = 256 * 1024
    fetch_max_s: Measure = 3600  # for one attempt at any file
    whatsapp_hosts: Hosts = (
        "mmg.whatsapp.net",  # for direct paths
        "*.whatsapp.net",  # also serves URLs: media-gru1-1.cdn.whatsapp.net, media.fgru1-1.fna.whatsapp.net
    )

    @field_validator("whatsapp_hosts")
    @classmethod
    def _first_is_a_host(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and value[0].startswith("*"):
            raise ValueError("must begin with a host name, which direct paths are downloaded from: mmg.whatsapp.net")
        return value
