"""The step validate: the size limit of the kind, then a decode in the sandbox, unless detect had it made already."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.media_types import MediaType, media_type_for
from pipeline.media_types.limits import Rules, rules_from
from pipeline.models import Detected, Facts, Validated
from pipeline.sandbox import InvalidAnswerError, Sandbox


def validate(detected: Detected, *, path: Path, sandbox: Sandbox, settings: Settings) -> Validated:
    """Validates a staged file and returns its facts. At most one call to the sandbox.

    Raises:
        PermanentError: `too_large`, `too_many_pixels`, `too_many_frames`, `too_many_pages`, `too_long`, `empty`,
            `expands_too_far`, `active_content`, `broken`, and what `Sandbox.call` raises.
    """
    validated = validate_checked(detected, settings=settings)
    if validated is not None:
        return validated
    media_type = _media_type(detected)
    limits = rules_from(settings).limits_json
    arguments = {"name": media_type.name, "kind": detected.kind, "limits": limits}
    answer = sandbox.call(media_type.check, file=str(path.absolute()), **arguments)
    try:
        return Validated(detected=detected, facts=Facts.model_validate(answer))
    except ValidationError:
        sandbox.distrust()
        raise InvalidAnswerError from None


def validate_checked(detected: Detected, *, settings: Settings) -> Validated | None:
    """Validates a file with the check that detect had made; None without such a check under these settings' limits.

    Raises:
        PermanentError: as `validate`.
    """
    rules = rules_from(settings)
    _check_size(detected, rules, settings)
    checked = detected.checked
    if checked is None or checked.limits != rules.limits_hash:
        return None
    if checked.fault:
        raise PermanentError(checked.fault.code, checked.fault.message)
    return Validated(detected=detected, facts=checked.facts) if checked.facts else None


def _check_size(detected: Detected, rules: Rules, settings: Settings) -> None:
    limit = rules.limits.bytes_of[detected.kind]
    if detected.fetched.size > limit:
        size, setting = detected.fetched.size / MB, settings.size_setting(detected.kind)
        message = f"{detected.kind} of {size:.6g} MB; at most {limit / MB:g} MB are allowed ({setting})"
        raise PermanentError(Code.TOO_LARGE, message)


def _media_type(detected: Detected) -> MediaType:
    media_type = media_type_for(detected.mime, detected.ext)
    if media_type is None:
        raise PermanentError(Code.TYPE_NOT_ALLOWED, f"{detected.mime} is not accepted")
    return media_type
