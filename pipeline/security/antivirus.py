"""Before anything is stored, ClamAV looks at it, if there is one: what is infected stays out.

Nothing goes in that was not looked at. While clamd is away, attachments wait; what it cannot look at has failed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import AwayError, Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import SCAN_SECONDS, SCANS
from pipeline.outage import Outage
from pipeline.security.clamd import TOO_LONG, Clamd, ClamdUnavailableError

PATIENCE_S = 6 * 3600.0  # how long attachments wait for a clamd that is away, before that counts as an attempt
LONGEST_PAUSE_S = 30.0
NOBODY_ASKED_S = 300.0  # who is waited for is asked more often than that
CHUNK_BYTES = 256 * 1024
BYTES_PER_S = 10_000_000  # clamd writes a stream to its disk before it looks at it
FOUND = re.compile(r"stream: (.+) FOUND")
LIMITS_SIGNATURE = (
    "Heuristics.Limits.Exceeded"  # what clamd finds in a file of which it has seen a part, with AlertExceedsMax
)
MAX_SHOWN = 200


class Antivirus:
    """The scans of this process. `timeout_s` is for one file, and a second more for each 10 MB of it."""

    def __init__(self, clamd: Clamd, *, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clamd = clamd
        self._timeout_s = timeout_s
        self._outage = Outage(
            "clamd",
            remedy="attachments wait for it; start it, or unset CLAMD_ADDRESS",
            stale_after_s=NOBODY_ASKED_S,
            clock=clock,
        )

    def check(self, path: Path, *, size: int) -> None:
        """Returns if clamd has looked at the file, which has `size` bytes, and finds nothing.

        Raises:
            PermanentError: `malware`, with the signature's name.
            AwayError: `antivirus`: nobody answers at all.
            RetryableError: `antivirus`: it could not look at this file; `staging`: the file cannot be read.
            StagingLostError: the file is gone, or has another size.
        """
        started = time.perf_counter()
        try:
            _judge(self._ask(path, size))
        except PipelineError as error:
            SCANS.add(_outcome(error))
            raise
        SCANS.add("clean")
        SCAN_SECONDS.observe(time.perf_counter() - started)

    def _ask(self, path: Path, size: int) -> str:
        timeout_s = self._timeout_s + size / BYTES_PER_S
        try:
            answer = self._clamd.scan(_chunks(path, size), timeout_s=timeout_s)
        except ClamdUnavailableError as error:
            raise self._away(str(error)) from None
        except TimeoutError:
            if not self._lives():
                raise self._away("it hangs") from None
            raise RetryableError(Code.ANTIVIRUS, f"clamd gave no answer on this file for {timeout_s:.0f} s") from None
        except OSError:  # it may be this file that brings it down, so it counts
            raise RetryableError(Code.ANTIVIRUS, "clamd ended the connection without an answer") from None
        self._outage.end()
        return answer

    def _lives(self) -> bool:
        try:
            return self._clamd.ping()
        except (ClamdUnavailableError, OSError):
            return False

    def _away(self, why: str) -> RetryableError:
        self._outage.begin(why)
        away_s = self._outage.duration_s
        message = f"clamd does not answer ({why})"
        if away_s > PATIENCE_S:
            return RetryableError(Code.ANTIVIRUS, message)
        return AwayError(Code.ANTIVIRUS, message, retry_after=min(away_s, LONGEST_PAUSE_S))


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    """The file piece by piece; its errors are none of the connection."""
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


def _judge(answer: str) -> None:
    """Raises unless clamd has looked at everything and finds nothing."""
    found = FOUND.fullmatch(answer)
    if answer == "stream: OK":
        return
    if found and not found[1].startswith(LIMITS_SIGNATURE):
        raise PermanentError(Code.MALWARE, f"clamd finds {_shown(found[1])}")
    if found:
        message = f"clamd has seen a part of this file only ({_shown(found[1])}): raise its limit"
    elif TOO_LONG in answer:
        message = "this file is larger than clamd takes: raise its StreamMaxLength"
    elif answer.endswith("ERROR"):
        message = f"clamd cannot look at this file: {_shown(answer.removeprefix('stream: '))}"
    else:
        message = "what answers at CLAMD_ADDRESS does not answer as clamd does"
    raise RetryableError(Code.ANTIVIRUS, message)


def _outcome(error: PipelineError) -> str:
    if isinstance(error, AwayError):
        return "away"
    return "infected" if error.code is Code.MALWARE else "error"


def _shown(text: str) -> str:
    return "".join(char for char in text[:MAX_SHOWN] if char.isascii() and char.isprintable())
