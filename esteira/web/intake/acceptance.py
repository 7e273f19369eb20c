"""Accepts the attachments of a request: the caller's sessions, INTAKE_RULES and the rate limit decide first."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from actors.hook import hook, process_media
from actors.intake.rate_limit import IntakeRateLimit
from esteira.web.intake.background import BackgroundRunner
from esteira.web.intake.form_attachments import UploadedAttachment
from esteira.web.intake.ignored_counts import WebIgnoredCounter
from esteira.web.intake.rate_limit import check_rate_limit
from pipeline.config.intake_rules import refusing_rule
from pipeline.config.settings import Settings
from pipeline.errors import PayloadError
from pipeline.models import Attachment
from pipeline.security.callers import Caller, ForbiddenError


class AcceptedAttachment(BaseModel):
    """An attachment of a hook's payload: its id, and its status in the catalogue."""

    id: str
    message_id: str
    status: str


class HookReply(BaseModel):
    """What was accepted from a payload, and how many messages were ignored: without media, or refused by a rule.

    `ignored_by_rule` counts the latter by the number of their rule in INTAKE_RULES; without any it is left out.
    """

    accepted: list[AcceptedAttachment]
    ignored: int
    ignored_by_rule: dict[str, int] | None = None


class Acceptance:
    """Accepts attachments in one process. Its methods block: they write to the catalogue and to Redis."""

    def __init__(self, settings: Settings, ignored: WebIgnoredCounter, background: BackgroundRunner) -> None:
        self._settings = settings
        self._ignored = ignored
        self._background = background
        self._rates: IntakeRateLimit | None = None
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Connects to Redis and the catalogue, and hands over what an earlier process left in the intake spool.

        Raises:
            PipelineError: one of them is away.
        """
        self._rates_of_process()
        hook().start()

    def close(self) -> None:
        """Ends the thread that hands over what is in the intake spool."""
        if self._rates is not None:
            hook().close()

    def accept(
        self, given: Sequence[UploadedAttachment], caller: Caller, *, ignored: int, single: bool
    ) -> dict[str, Any]:
        """Accepts these attachments; returns the reply. `ignored` counts the other messages of the request.

        Raises:
            PayloadError: there are several, and `single` allows one.
            ForbiddenError: one is outside of the caller's sessions; none is accepted.
            RetryableError: `too_many_requests`, none is accepted; `catalogue` or `storage`.
        """
        if single and len(given) != 1:
            raise PayloadError("wait", "is for one attachment: the body has several")
        _check_scope(caller, [attachment for attachment, _ in given])
        taken, by_rule = self._taken(given)
        check_rate_limit(self._rates_of_process(), [attachment for attachment, _ in taken])
        accepted = [self._accept_one(attachment, file) for attachment, file in taken]
        if ignored or by_rule:
            self._ignored.add(ignored, by_rule)
        reply = {"accepted": accepted, "ignored": ignored + by_rule.total()}
        if by_rule:
            reply["ignored_by_rule"] = {str(number): by_rule[number] for number in sorted(by_rule)}
        return reply

    def _taken(self, given: Sequence[UploadedAttachment]) -> tuple[Sequence[UploadedAttachment], Counter[int]]:
        """The attachments that INTAKE_RULES accept, and how many each rule refuses."""
        rules = self._settings.intake_rules
        if not rules:
            return given, Counter()
        refusals = [
            refusing_rule(rules, attachment, size=file.stat().st_size if file else None) for attachment, file in given
        ]
        taken = [one for one, rule in zip(given, refusals, strict=True) if rule is None]
        return taken, Counter(rule for rule in refusals if rule is not None)

    def _accept_one(self, attachment: Attachment, file: Path | None) -> dict[str, str]:
        # The rules have decided already.
        receipt = process_media(attachment, file=file, aside=self._background, by_rules=False)
        assert receipt.status
        return {"id": receipt.id, "message_id": attachment.message_id, "status": receipt.status}

    def _rates_of_process(self) -> IntakeRateLimit:
        with self._lock:
            if self._rates is None:
                listener_hook = hook()
                self._rates = IntakeRateLimit(
                    listener_hook.queue, listener_hook.breaker, per_minute=self._settings.hook_rate_per_minute
                )
            return self._rates


def _check_scope(caller: Caller, attachments: Sequence[Attachment]) -> None:
    """Raises ForbiddenError if a user hands over an attachment of a session outside its scope."""
    if caller.scope.is_all:
        return
    for attachment in attachments:
        if not caller.sees_session(attachment.gateway, attachment.session):
            raise ForbiddenError(f"this token may hand over attachments of {caller.scope} only; nothing was accepted")
