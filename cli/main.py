"""The command `esteira`: the group of all commands, and how their errors reach the one who typed them."""

from __future__ import annotations

from typing import Any, NoReturn

import dramatiq
import redis
import rich_click as click

from actors.checkup.belt import ADDRESS, LOGIN, redis_place
from cli.cancel import cancel
from cli.check import check
from cli.delete import delete
from cli.derive import derive
from cli.doctor import doctor
from cli.failures import failures
from cli.migrate import migrate
from cli.output import leave, say
from cli.passes import link, token
from cli.pauses import pause, pauses, resume
from cli.replay import replay
from cli.start import start
from cli.stats import stats
from cli.status import list_, status
from cli.submit import submit
from cli.sweep import sweep
from cli.webhooks import webhooks
from cli.workers import workers
from pipeline.catalogue import CatalogueError
from pipeline.errors import Code, PipelineError, RetryableError, SettingsError
from pipeline.settings import current_settings

FAILED, USAGE = 1, 2  # exit codes, beside 0 for done

REMEDIES = {
    Code.CATALOGUE: "check DATABASE_URL or VAR_DIR, who may read and write there, and that its server runs",
    Code.QUEUE: ADDRESS,
    Code.STAGING: "check STAGING_DIR and the free space there",
    Code.STORAGE: "check STORAGE_URL and the free space there",
}

EPILOG = """
Exit status: 0 done, 1 something failed, 2 wrong usage or a wrong setting. Settings come from the environment and from
`.env`; `.env.example` lists every one.
"""


class Commands(click.RichGroup):
    """A group whose commands end in one line on stderr, not in a traceback, when something outside them is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            _fail(error.message, USAGE)
        except CatalogueError as error:  # its message has the remedy already
            _fail(error.message, FAILED)
        except PipelineError as error:
            # What waiting does not mend says itself what does.
            remedy = REMEDIES.get(error.code) if isinstance(error, RetryableError) else None
            _fail(f"{error.message}; {remedy}" if remedy else error.message, FAILED)
        except redis.AuthenticationError:
            _fail(f"Redis at {redis_place(current_settings())} refuses the login; {LOGIN}", FAILED)
        except (redis.RedisError, dramatiq.ConnectionError):
            _fail(f"Redis at {redis_place(current_settings())} does not answer; {ADDRESS}", FAILED)


def _fail(message: str, status: int) -> NoReturn:
    say(f"esteira: {message}")
    leave(status)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="esteira", message="%(prog)s %(version)s")
def esteira() -> None:
    """Takes the media of chat gateways off the listener's hands: fetch, check, store and announce, and lose none."""


COMMANDS = (
    *(start, submit, status, list_, failures, replay, delete, stats, workers),
    *(pause, resume, pauses, cancel),
    *(check, token, link, webhooks, derive, sweep, doctor, migrate),
)
for command in COMMANDS:
    esteira.add_command(command)


def main() -> None:
    """The console script."""
    esteira(prog_name="esteira")
