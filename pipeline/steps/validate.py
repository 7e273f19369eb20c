"""The step validate: the limits of its kind, then a real decode in the sandbox, unless detect has had it made."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.settings import MB, Settings
from pipeline.errors import Code, PermanentError
from pipeline.media_types import MediaType, media_type_for
from pipeline.media_types.limits import Rules, rules_from
from pipeline.models import Detected, Facts, Validated
from pipeline.sandbox import Sandbox


def validate(detected: Detected, *, path: Path, sandbox: Sandbox, settings: Settings) -> Validated:
    """What a decoder finds out about the staged file at `path`. At most one call in the sandbox.

    Raises:
        PermanentError: `too_large`, `too_many_pixels`, `too_many_frames`, `too_many_pages`, `too_long`, `empty`,
            `expands_too_far`, `active_content`, `broken`, and what `Sandbox.call` raises.
    """
    known = validate_checked(detected, settings=settings)
    if known is not None:
        return known
    row = _row(detected)
    limits = rules_from(settings).text
    facts = sandbox.call(row.check, path=str(path.absolute()), name=row.name, kind=detected.kind, limits=limits)
    return Validated(detected=detected, facts=Facts.model_validate(facts))


def validate_checked(detected: Detected, *, settings: Settings) -> Validated | None:
    """The same, of what was checked together with detect under the limits of these settings; None for the others.

    Raises:
        PermanentError: as `validate` does.
    """
    rules = rules_from(settings)
    _check_size(detected, rules)
    checked = detected.checked
    if checked is None or checked.limits != rules.mark:
        return None
    if checked.fault:
        raise PermanentError(checked.fault.code, checked.fault.message)
    return Validated(detected=detected, facts=checked.facts) if checked.facts else None


def _check_size(detected: Detected, rules: Rules) -> None:
    limit = rules.limits.bytes_of[detected.kind]
    if detected.fetched.size > limit:
        found, most = detected.fetched.size / MB, limit / MB
        message = f"{detected.kind} of {found:.6g} MB; at most {most:g} MB are allowed"
        raise PermanentError(Code.TOO_LARGE, message)


def _row(detected: Detected) -> MediaType:
    found = media_type_for(detected.mime, detected.ext)
    if found is None:
        raise PermanentError(Code.TYPE_NOT_ALLOWED, f"{detected.mime} is not let in")
    return found
