"""Scans files with ClamAV before they are stored, if CLAMD_ADDRESS is set.

A file is stored only after a complete scan. While clamd is unreachable, attachments wait; a file that it cannot scan
fails.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.errors import AwayError, Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import SCAN_SECONDS, SCANS
from pipeline.outage import Outage
from pipeline.security.clamd import TOO_LONG, Clamd, ClamdUnavailableError

MAX_OUTAGE_S = 6 * 3600.0  # after so long an outage, an attachment's wait for clamd counts as a failed attempt
MAX_RETRY_AFTER_S = 30.0  # the longest wait before the next scan during an outage
OUTAGE_STALE_S = 300.0  # an outage without a failed scan for so long is over: waiting attachments try more often
CHUNK_BYTES = 256 * 1024
BYTES_PER_S = 10_000_000  # of the stream, which clamd writes to its disk before the scan
FOUND = re.compile(r"stream: (.+) FOUND")
LIMITS_SIGNATURE = "Heuristics.Limits.Exceeded"  # reported with AlertExceedsMax for a file that is scanned in part
MAX_SHOWN = 200  # characters of a reply in an error message


class Antivirus:
    """Scans files. A scan may take `timeout_s`, and a second more for each 10 MB of the file."""

    def __init__(self, clamd: Clamd, *, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clamd = clamd
        self._timeout_s = timeout_s
        self._outage = Outage(
            "clamd",
            consequence="attachments wait for it",
            remedy="start it, or unset CLAMD_ADDRESS",
            stale_after_s=OUTAGE_STALE_S,
            clock=clock,
        )

    def check(self, path: Path, *, size: int) -> None:
        """Returns if clamd has scanned the whole file, which has `size` bytes, and found nothing.

        Raises:
            PermanentError: `malware`, with the signature's name.
            AwayError: `antivirus`: clamd is unreachable or hangs.
            RetryableError: `antivirus`: it could not scan this file; `staging`: the file cannot be read.
            StagingLostError: the file is gone, or has another size.
        """
        started = time.perf_counter()
        try:
            _check_reply(self._scan(path, size))
        except PipelineError as error:
            SCANS.add(_outcome(error))
            raise
        SCANS.add("clean")
        SCAN_SECONDS.observe(time.perf_counter() - started)

    def _scan(self, path: Path, size: int) -> str:
        timeout_s = self._timeout_s + size / BYTES_PER_S
        try:
            reply = self._clamd.scan(_chunks(path, size), timeout_s=timeout_s)
        except ClamdUnavailableError as error:
            raise self._away(str(error)) from None
        except TimeoutError:
            if not self._responds():
                raise self._away("it hangs") from None
            raise RetryableError(Code.ANTIVIRUS, f"clamd did not scan this file within {timeout_s:.0f} s") from None
        except OSError:  # counts as an attempt, because this file may be what crashes clamd
            raise RetryableError(Code.ANTIVIRUS, "clamd closed the connection without a reply") from None
        self._outage.end()
        return reply

    def _responds(self) -> bool:
        try:
            return self._clamd.ping()
        except (ClamdUnavailableError, OSError):
            return False

    def _away(self, reason: str) -> RetryableError:
        self._outage.begin(reason)
        away_s = self._outage.duration_s
        message = f"clamd does not answer ({reason})"
        if away_s > MAX_OUTAGE_S:
            return RetryableError(Code.ANTIVIRUS, message)
        return AwayError(Code.ANTIVIRUS, message, retry_after=min(away_s, MAX_RETRY_AFTER_S))


def open_antivirus(settings: Settings) -> Antivirus | None:
    """The antivirus at CLAMD_ADDRESS; None if it is not set."""
    if settings.clamd_address is None:
        return None
    return Antivirus(Clamd(settings.clamd_address), timeout_s=settings.clamd_timeout_s)


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    """Reads the file in chunks. Its errors are pipeline errors, to tell them from those of the connection."""
    sent = 0
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                sent += len(chunk)
                yield chunk
    except FileNotFoundError:
        raise StagingLostError(path.name) from None
    except OSError as error:
        raise RetryableError(Code.STAGING, f"cannot read the staged file: {error.strerror}") from error
    if sent != size:
        raise StagingLostError(path.name)


def _check_reply(reply: str) -> None:
    """Raises unless clamd has scanned the whole file and found nothing."""
    match = FOUND.fullmatch(reply)
    if reply == "stream: OK":
        return
    if match and not match[1].startswith(LIMITS_SIGNATURE):
        raise PermanentError(Code.MALWARE, f"clamd found {_shown(match[1])}")
    if match:
        message = f"clamd scanned only a part of this file ({_shown(match[1])}): raise its limits"
    elif TOO_LONG in reply:
        message = "this file is larger than clamd accepts: raise its StreamMaxLength"
    elif reply.endswith("ERROR"):
        message = f"clamd cannot scan this file: {_shown(reply.removeprefix('stream: '))}"
    else:
        message = "the server at CLAMD_ADDRESS does not answer like clamd"
    raise RetryableError(Code.ANTIVIRUS, message)


def _outcome(error: PipelineError) -> str:
    if isinstance(error, AwayError):
        return "away"
    return "infected" if error.code is Code.MALWARE else "error"


def _shown(text: str) -> str:
    return "".join(char for char in text[:MAX_SHOWN] if char.isascii() and char.isprintable())
