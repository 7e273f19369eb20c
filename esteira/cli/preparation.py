"""What comes before web app and workers: tables of this version, and settings from which everything can be built.

`python -m esteira.cli.preparation` does it for a reload, in a process with the code and the settings of now, and prints
the facts that the supervisor needs.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from click.exceptions import Exit

from esteira.cli.environment import settings_for_command
from esteira.cli.errors import exit_with_message
from esteira.cli.machine import check_decoders, check_folders
from esteira.cli.migrate import migrate_catalogue
from pipeline.config.settings import Settings
from pipeline.redis_client import connect
from pipeline.security.private_dirs import set_private_umask
from pipeline.services import build_services

REDIS_TIMEOUT_S = 5  # for the check whether Redis answers

Facts = dict[str, Any]


def prepare(settings: Settings) -> None:
    """Updates the tables, and reports wrong settings and missing libraries here and not only in the workers' log."""
    check_folders(settings)
    check_decoders()
    migrate_catalogue(settings)
    build_services(settings).close()


def check_redis(settings: Settings) -> None:
    """Reports a wrong address here and not only in the workers' log."""
    client = connect(settings.redis, timeout_s=REDIS_TIMEOUT_S)
    client.ping()
    client.close()


def facts_of(settings: Settings) -> Facts:
    """What the supervisor itself uses of the settings, by the setting's name; nothing secret."""
    return {
        "VAR_DIR": str(settings.var_dir.absolute()),
        "REDIS_URL": "embedded" if settings.embedded else "external",
        "PORT": settings.port,
        "WEB_HOST": settings.web_host,
        "VALKEY_SERVER": settings.valkey_server,
        "WEB_CONCURRENCY": settings.web_concurrency,
        "WORKER_THREADS": settings.worker_threads,
    }


def main() -> int:
    """Prepares, and prints the facts. Returns the exit status."""
    set_private_umask()
    try:
        settings = settings_for_command()
        if not settings.embedded:
            check_redis(settings)
        prepare(settings)
    except Exit as ended:
        return ended.exit_code
    except Exception as error:  # the edge of the process: what is no bug becomes one line
        try:
            exit_with_message(error)
        except Exit as ended:
            return ended.exit_code
        raise
    print(json.dumps(facts_of(settings)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
