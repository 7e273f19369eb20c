"""Checks of clamd: reachable, detecting malware, and accepting files of every allowed size."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.security.antivirus import LIMITS_SIGNATURE
from pipeline.security.clamd import MAX_CHUNK_BYTES, Clamd, ClamdUnavailableError

MAX_SIGNATURE_AGE_DAYS = 7
NESTING = 300  # levels of compression, more than any MaxRecursion
# The harmless test file that every antivirus detects (https://www.eicar.org), in two halves, so that no antivirus
# detects it in this module.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
RAISE_LIMITS = "raise StreamMaxLength, MaxFileSize and MaxScanSize in clamd.conf, or lower MAX_DOCUMENT_MB"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about clamd, or a single one if it is not used or does not answer."""
    if settings.clamd_address is None:
        yield ok("antivirus", "CLAMD_ADDRESS is not set: files are not scanned")
        return
    clamd = Clamd(settings.clamd_address)
    try:
        yield check_version(clamd)
        yield check_detection(clamd)
        yield check_partial_scans(clamd)
        yield check_size_limit(clamd, settings)
    except (ClamdUnavailableError, OSError) as error:
        reason = str(error) or type(error).__name__
        remedy = "start clamd, check CLAMD_ADDRESS and the permissions of its socket; attachments wait until it answers"
        yield fail("antivirus", f"{settings.clamd_address} does not answer ({reason})", remedy)
    except ValueError:
        yield fail("antivirus", f"the server at {settings.clamd_address} is not clamd", "check CLAMD_ADDRESS")


def check_version(clamd: Clamd, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Finding:
    version = clamd.version()
    if version.made is None:
        return warn("antivirus", f"{version.program} has no signatures from ClamAV", "run freshclam")
    days = (now() - version.made).days
    message = f"{version.program}, signatures {version.signatures} of {version.made:%Y-%m-%d}"
    if days > MAX_SIGNATURE_AGE_DAYS:
        return warn("antivirus", f"{message}: {days} days old", "run freshclam, and check its log")
    return ok("antivirus", message)


def check_detection(clamd: Clamd) -> Finding:
    answer = clamd.scan([EICAR], timeout_s=30)
    if answer.endswith("FOUND"):
        return ok("antivirus test", "clamd detects the EICAR test file")
    return warn("antivirus test", "clamd does not detect the EICAR test file", "run freshclam, and check clamd's log")


def check_partial_scans(clamd: Clamd) -> Finding:
    """Check that clamd reports files that it has scanned only in part, with a file that is compressed too often."""
    packed = b"esteira doctor"
    for _ in range(NESTING):
        packed = gzip.compress(packed, mtime=0)
    if LIMITS_SIGNATURE in clamd.scan([packed], timeout_s=30):
        return ok("antivirus coverage", "clamd reports files that it has not scanned completely; these are refused")
    message = "clamd reports files above its MaxFileSize, MaxScanSize or MaxScanTime as clean without scanning them"
    return warn("antivirus coverage", message, "set AlertExceedsMax yes in clamd.conf")


def check_size_limit(clamd: Clamd, settings: Settings) -> Finding:
    """Check that clamd accepts the largest allowed file. It shows its StreamMaxLength only by what it refuses."""
    needed = min(settings.max_bytes(None), MAX_CHUNK_BYTES)
    if clamd.accepts(needed):
        message = f"clamd accepts files of {needed / MB:g} MB; also check its MaxFileSize and MaxScanSize"
        return ok("antivirus limit", message)
    accepted = _accepted_bytes(clamd, needed)
    message = f"clamd accepts at most {accepted / MB:.0f} MB, the settings allow {needed / MB:g} MB: larger files fail"
    return warn("antivirus limit", message, RAISE_LIMITS)


def _accepted_bytes(clamd: Clamd, refused: int) -> int:
    """The largest size that clamd accepts, within a megabyte."""
    accepted = 0
    while refused - accepted > MB:
        middle = (accepted + refused) // 2
        if clamd.accepts(middle):
            accepted = middle
        else:
            refused = middle
    return accepted
