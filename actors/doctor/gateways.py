"""Checks of the gateways' servers that are asked for expired files: reachable, and their keys accepted."""

from __future__ import annotations

from collections.abc import Iterator

from actors.doctor.finding import Finding, ok, warn
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.gateways.reupload import REUPLOADS, Probe
from pipeline.http_client import ApiRequest, Deadline, HttpClient

CHECK = "ask gateways"
TIMEOUT_S = 10.0
CONSEQUENCE = "files whose source is gone end as expired"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """One finding for each server, or a single one if gateways are not asked again."""
    if settings.reupload == "off":
        yield ok(CHECK, f"REUPLOAD is off: {CONSEQUENCE}")
        return
    if not any(reupload.server("", settings) or reupload.probes(settings) for reupload in REUPLOADS.values()):
        remedy = "set EVOLUTION_URL and EVOLUTION_API_KEY, WAHA_URL, GOWA_URL, or WPPCONNECT_URL and WPPCONNECT_TOKEN"
        yield warn(CHECK, f"REUPLOAD=gateway, but no gateway's server is set: {CONSEQUENCE}", remedy)
        return
    client = HttpClient(connect_timeout_s=settings.fetch_connect_timeout_s, read_timeout_s=TIMEOUT_S)
    try:
        for reupload in REUPLOADS.values():
            yield from (check_server(probe, client) for probe in reupload.probes(settings))
    finally:
        client.close()


def check_server(probe: Probe, client: HttpClient) -> Finding:
    """Check that a gateway's server answers, and that it does not refuse the key."""
    server = probe.server
    request = ApiRequest("GET", server.url + probe.path, server.credentials)
    try:
        with client.exchange(request, trusted_url=server.url, deadline=Deadline(TIMEOUT_S)) as reply:
            status = reply.status
    except PipelineError as error:
        remedy = f"start it, or correct its URL; until then {CONSEQUENCE}"
        return warn(CHECK, f"{server.name} at {server.url}: {error.message}", remedy)
    if status in {401, 403}:
        return warn(CHECK, f"{server.name} at {server.url} refuses the key ({status})", f"check {server.key_setting}")
    if status >= 500 or 300 <= status < 400:
        return warn(CHECK, f"{server.name} at {server.url} answers {status}", "check its URL and its log")
    return ok(CHECK, f"{server.name} at {server.url} answers and does not refuse the key")
