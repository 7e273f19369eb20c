"""Settings that are allowed and yet worth a thought, and the limits that this process was given."""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.gateways import LOOPBACK_HOSTS
from pipeline.config.settings import Network, Settings
from pipeline.config.unknown_names import unknown_names
from pipeline.errors import SettingsError
from pipeline.security.tokens import MIN_API_TOKEN_LENGTH
from pipeline.services import build_services

METADATA = ipaddress.ip_address("169.254.169.254")  # where clouds hand out credentials
WIDE = {4: 8, 6: 32}  # a network with so short a prefix is no network of somebody's own
FILES, FILES_A_THREAD = 128, 16  # open files of a worker process: sandbox, connections, the files of each attachment


def run_checks(settings: Settings) -> Iterator[Finding]:
    yield from (check(settings) for check in CHECKS)


def check_valid(settings: Settings) -> Finding:
    """What only its user can judge: storage's URL, the webhook's, the types allowed."""
    try:
        build_services(settings).close()
    except SettingsError as error:
        return fail("settings", error.message, "see .env.example")
    except OSError as error:
        return fail("settings", f"VAR_DIR: cannot make its folders: {error.strerror}", "choose another VAR_DIR")
    return ok("settings", "every value can be used")


def check_names(_: Settings) -> Finding:
    unknown = unknown_names()
    if unknown:
        return warn(
            "setting names", "; ".join(map(str, unknown)), "names are those of .env.example; others are ignored"
        )
    return ok("setting names", "nothing in the environment or .env looks like a setting and is none")


def check_private(settings: Settings) -> Finding:
    wide = [str(network) for network in settings.fetch_allow_private if _is_wide(network)]
    if wide:
        message = f"FETCH_ALLOW_PRIVATE lets senders reach {', '.join(wide)}"
        return warn("private networks", message, "name the few addresses that serve media")
    if not settings.fetch_allow_private:
        return ok("private networks", "not fetched from")
    return ok("private networks", f"fetched from: {', '.join(map(str, settings.fetch_allow_private))}")


def _is_wide(network: Network) -> bool:
    return network.prefixlen < WIDE[network.version] or METADATA in network


def check_intake(settings: Settings) -> Finding:
    if not settings.intake_sync:
        message = "INTAKE_SYNC=false: a power cut may lose what was accepted just before"
        return warn("intake", message, "unset INTAKE_SYNC, unless the sender sends again")
    return ok("intake", "what is accepted is on disk before the answer")


def check_token(settings: Settings) -> Finding:
    if settings.api_token is None:
        return ok("web", "API_TOKEN is not set: /hooks/media and the API answer 401, there is no dashboard")
    if len(settings.api_token.get_secret_value()) < MIN_API_TOKEN_LENGTH:
        message = (
            f"API_TOKEN has fewer than {MIN_API_TOKEN_LENGTH} characters: no dashboard, no session tokens, no links"
        )
        return warn("web", message, "take another, such as `openssl rand -hex 32` gives")
    return ok("web", "API_TOKEN is set")


def check_files(settings: Settings) -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = FILES + FILES_A_THREAD * settings.worker_threads
    if limit != resource.RLIM_INFINITY and limit < needed:
        message = f"{limit} here; a worker of {settings.worker_threads} threads may need {needed}"
        return warn("open files", message, f"ulimit -n {max(1024, needed)}, or LimitNOFILE= in systemd")
    return ok("open files", "no limit here" if limit == resource.RLIM_INFINITY else f"at most {limit} here")


def _goes_open(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme.lower() == "http" and parts.hostname not in LOOPBACK_HOSTS


def check_webhooks(settings: Settings) -> Finding:
    names = [endpoint.name for endpoint in settings.endpoints]
    if not names:
        return ok("webhooks", "no endpoint: no server is told of endings")
    plain = [one.name for one in settings.endpoints if _goes_open(one.url.get_secret_value())]
    if plain:
        message = f"{', '.join(plain)}: http, so captions and names go there for all to read"
        return warn("webhooks", message, "use https, unless that network is all your own")
    return ok("webhooks", f"signed, to {', '.join(names)}")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    check_valid,
    check_names,
    check_webhooks,
    check_token,
    check_intake,
    check_private,
    check_files,
)
