"""Checks of settings that are valid but risky, and of this process's limits."""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.gateways import LOOPBACK_HOSTS
from pipeline.config.settings import MIN_API_TOKEN_LENGTH as MIN_SECRET
from pipeline.config.settings import Settings, uses_token_file
from pipeline.config.token_file import token_path
from pipeline.config.types import Network
from pipeline.config.unknown_names import unknown_names
from pipeline.errors import SettingsError
from pipeline.services import build_services

METADATA = ipaddress.ip_address("169.254.169.254")  # cloud providers serve credentials at this address
# The secrets with which gateways show who they are. CLOUD_APP_SECRET is chosen by Meta.
GATEWAY_SECRETS = (
    "wppconnect_secret",
    "evolution_jwt_key",
    "evolution_secret",
    "waha_hmac_key",
    "gowa_webhook_secret",
    "cloud_verify_token",
)
GATEWAY_SERVERS = (("waha_hmac_key", "waha_url"), ("gowa_webhook_secret", "gowa_url"))  # secret and address
WIDE_PREFIX = {4: 8, 6: 32}  # by IP version; a network with a shorter prefix is larger than a private network
BASE_FILES, FILES_PER_THREAD = 128, 16  # open files of a worker: sandbox and connections, and each thread's attachments


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about the settings."""
    yield from (check(settings) for check in CHECKS)


def check_valid(settings: Settings) -> Finding:
    """Check what is validated only when it is used: the URLs of storage and webhooks, the allowed types."""
    try:
        build_services(settings).close()
    except SettingsError as error:
        return fail("settings", error.message, "see `esteira settings`")
    except OSError as error:
        return fail("settings", f"VAR_DIR: cannot create directories: {error.strerror}", "choose another VAR_DIR")
    return ok("settings", "all values are valid")


def check_names(_: Settings) -> Finding:
    unknown = unknown_names()
    if unknown:
        remedy = "use the names in .env.example; other names have no effect"
        return warn("setting names", "; ".join(map(str, unknown)), remedy)
    return ok("setting names", "no unknown or misspelled settings in the environment or .env")


def check_private(settings: Settings) -> Finding:
    wide = [str(network) for network in settings.fetch_allow_private if _is_wide(network)]
    if wide:
        message = f"FETCH_ALLOW_PRIVATE lets senders reach {', '.join(wide)}"
        return warn("private networks", message, "allow only the addresses that serve media")
    if not settings.fetch_allow_private:
        return ok("private networks", "downloads from private networks are refused")
    return ok("private networks", f"downloads allowed from {', '.join(map(str, settings.fetch_allow_private))}")


def _is_wide(network: Network) -> bool:
    return network.prefixlen < WIDE_PREFIX[network.version] or METADATA in network


def check_intake(settings: Settings) -> Finding:
    check = "disk sync"
    if not settings.intake_sync:
        message = "INTAKE_SYNC=false: a power failure may lose attachments that were accepted just before"
        return warn(check, message, "unset INTAKE_SYNC, unless your senders retry")
    return ok(check, "accepted attachments are synced to disk before the answer")


def check_intake_rules(settings: Settings) -> Finding:
    check, rules = "intake rules", settings.intake_rules
    if not rules:
        return ok(check, "every attachment is accepted")
    shown = "; ".join(f"{number}: {rule}" for number, rule in enumerate(rules, 1))
    last = next((number for number, rule in enumerate(rules, 1) if rule.fits_all), len(rules))
    if last < len(rules):
        message = f"rule {last} fits everything, so the rules after it have no effect: {shown}"
        return warn(check, message, "move it to the end, or give it a condition")
    return ok(check, f"the first rule that fits decides: {shown}")


def check_token(settings: Settings) -> Finding:
    if settings.api_token is None:
        message = "API_TOKEN is not set: /hooks/media and the API accept only tokens of users (`esteira users add`)"
        return ok("api token", f"{message}; no dashboard, no links, no tokens of sessions")
    if uses_token_file(settings):
        return ok("api token", f"API_TOKEN is not set: the token in {token_path(settings.var_dir)} is used")
    return ok("api token", "API_TOKEN is set")


def check_gateway_secrets(settings: Settings) -> Finding:
    """Warns of short secrets. They are not refused: another program may have chosen them."""
    secrets = {name: getattr(settings, name) for name in GATEWAY_SECRETS}
    short = [name.upper() for name, value in secrets.items() if value and len(value.get_secret_value()) < MIN_SECRET]
    if short:
        remedy = f"set at least {MIN_SECRET} characters there and at the gateway: `openssl rand -hex 32`"
        return warn("gateway secrets", f"{', '.join(short)}: short enough to be guessed", remedy)
    return ok("gateway secrets", "none is short")


def check_gateway_servers(settings: Settings) -> Finding:
    """Warns of gateways whose files are on their own server, of which the address is not set."""
    missing = [
        url.upper() for secret, url in GATEWAY_SERVERS if getattr(settings, secret) and not getattr(settings, url)
    ]
    if missing:
        message = f"{', '.join(missing)} is not set: files on the gateway's own server cannot be fetched"
        return warn("gateway servers", message, "set the address of that server as reached from here")
    return ok("gateway servers", "every gateway that keeps files has its address")


def check_files(settings: Settings) -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = BASE_FILES + FILES_PER_THREAD * settings.worker_threads
    if limit != resource.RLIM_INFINITY and limit < needed:
        message = f"the limit is {limit}; a worker with {settings.worker_threads} threads may need {needed}"
        return warn("open files", message, f"ulimit -n {max(1024, needed)}, or LimitNOFILE= in systemd")
    return ok("open files", "no limit" if limit == resource.RLIM_INFINITY else f"the limit is {limit}")


def check_webhooks(settings: Settings) -> Finding:
    names = [endpoint.name for endpoint in settings.endpoints]
    if not names:
        return ok("webhooks", "no endpoint is set: results are not sent to any server")
    unencrypted = [endpoint.name for endpoint in settings.endpoints if _is_unencrypted(endpoint.url.get_secret_value())]
    if unencrypted:
        message = f"{', '.join(unencrypted)}: http sends captions and file names unencrypted"
        return warn("webhooks", message, "use https, unless the whole network is yours")
    return ok("webhooks", f"signed events are sent to {', '.join(names)}")


def check_event_urls(settings: Settings) -> Finding:
    """Warns if receivers on other machines get links that lead to this machine's loopback address."""
    check = "urls in events"
    if settings.event_url == "store" or settings.api_token is None:
        why = "EVENT_URL=store" if settings.event_url == "store" else "links need an API_TOKEN"
        return ok(check, f"addresses in storage: {why}")
    remote = [endpoint.name for endpoint in settings.endpoints if not _is_here(endpoint.url.get_secret_value())]
    if remote and _is_here(settings.base_url):
        message = f"links begin with {settings.base_url}, which {', '.join(remote)} cannot open"
        return warn(check, message, "set PUBLIC_URL to the address at which others reach the web app")
    return ok(check, f"signed links that begin with {settings.base_url}")


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK_HOSTS


def _is_unencrypted(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme.lower() == "http" and not _is_here(url)


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    check_valid,
    check_names,
    check_webhooks,
    check_event_urls,
    check_token,
    check_gateway_secrets,
    check_gateway_servers,
    check_intake,
    check_intake_rules,
    check_private,
    check_files,
)
