"""The antivirus: whether clamd answers, finds what it must find, and takes what is let in."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.settings import MB, Settings
from pipeline.security.antivirus import LIMITS_SIGNATURE
from pipeline.security.clamd import MAX_CHUNK_BYTES, Clamd, ClamdUnavailableError

OLD_DAYS = 7
DEEPER = 300  # than any MaxRecursion
# The harmless file that every antivirus finds, in two halves, lest it finds this module (https://www.eicar.org).
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
LIMITS = "raise StreamMaxLength, MaxFileSize and MaxScanSize in clamd.conf, or lower MAX_DOCUMENT_MB and its likes"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Everything about clamd; one finding alone if there is none."""
    if settings.clamd_address is None:
        yield ok("antivirus", "CLAMD_ADDRESS is not set: nothing is scanned")
        return
    clamd = Clamd(settings.clamd_address)
    try:
        yield check_version(clamd)
        yield check_finds(clamd)
        yield check_partial_scans(clamd)
        yield check_limit(clamd, settings)
    except (ClamdUnavailableError, OSError) as error:
        why = str(error) or type(error).__name__
        remedy = "start clamd, check CLAMD_ADDRESS and who may use its socket; until then attachments wait"
        yield fail("antivirus", f"{settings.clamd_address} does not answer ({why})", remedy)
    except ValueError:
        yield fail("antivirus", f"{settings.clamd_address} answers as no clamd does", "check CLAMD_ADDRESS")


def check_version(clamd: Clamd, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Finding:
    version = clamd.version()
    if version.made is None:
        return warn("antivirus", f"{version.program} without ClamAV's own signatures", "run freshclam")
    days = (now() - version.made).days
    message = f"{version.program}, signatures {version.signatures} of {version.made:%Y-%m-%d}"
    if days > OLD_DAYS:
        return warn("antivirus", f"{message}: {days} days old", "let freshclam run, and look at its log")
    return ok("antivirus", message)


def check_finds(clamd: Clamd) -> Finding:
    answer = clamd.scan([EICAR], timeout_s=30)
    if answer.endswith("FOUND"):
        return ok("antivirus test", "finds the EICAR test file")
    return warn("antivirus test", "does not find the EICAR test file", "run freshclam, and look at clamd's log")


def check_partial_scans(clamd: Clamd) -> Finding:
    """Whether clamd tells of what it has seen a part of only. It says so of a file that is packed too often, too."""
    packed = b"esteira doctor was here"
    for _ in range(DEEPER):
        packed = gzip.compress(packed, mtime=0)
    if LIMITS_SIGNATURE in clamd.scan([packed], timeout_s=30):
        return ok("antivirus candour", "tells of files of which it has seen a part only: those fail")
    message = "calls clean what is beyond its MaxFileSize, MaxScanSize or MaxScanTime, unseen"
    return warn("antivirus candour", message, "set AlertExceedsMax yes in clamd.conf")


def check_limit(clamd: Clamd, settings: Settings) -> Finding:
    """Whether clamd takes the largest file that is let in. It tells its StreamMaxLength by what it refuses."""
    wanted = min(settings.max_bytes(None), MAX_CHUNK_BYTES)
    if clamd.accepts(wanted):
        return ok("antivirus limit", f"takes files of {wanted / MB:g} MB; mind its MaxFileSize and MaxScanSize, too")
    message = f"takes files of {_most(clamd, wanted) / MB:.0f} MB at most, {wanted / MB:g} MB are let in: those fail"
    return warn("antivirus limit", message, LIMITS)


def _most(clamd: Clamd, refused: int) -> int:
    """The most bytes that it takes, to within a megabyte."""
    taken = 0
    while refused - taken > MB:
        middle = (taken + refused) // 2
        if clamd.accepts(middle):
            taken = middle
        else:
            refused = middle
    return taken
