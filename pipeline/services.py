"""The one place that turns settings into the objects that the steps need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from pipeline.catalogue import WAIT_S, Catalogue, FinishRequest, OutgoingEvent, Preview
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import Code, PipelineError, StagingLostError
from pipeline.http_client import HttpClient, LocalRateLimiter
from pipeline.media_types import DECODER_MODULES, PREVIEW_MODULES, allowed_types
from pipeline.models import Claim, Detected, Failure, Fetched, Outcome, Record, Status, Validated
from pipeline.notifiers import Notifier, build_notifiers
from pipeline.notifiers.webhooks import Webhooks, build_webhooks
from pipeline.parallel import map_parallel
from pipeline.sandbox import Sandbox
from pipeline.security.antivirus import Antivirus
from pipeline.security.clamd import Clamd
from pipeline.steps.detect import StagedFile, detect_many
from pipeline.steps.fetch import fetch
from pipeline.steps.notify import build_outcome, notify_many
from pipeline.steps.persist import persist_many
from pipeline.steps.preview import Content, derive, discard, keep
from pipeline.steps.validate import validate, validate_checked
from pipeline.storage import Storage, intake_key, open_storage
from pipeline.storage.staging import Staging

DRAWING_NICE = 10  # previews are drawn with the CPU time that nobody else wants …
DRAWING_PATIENCE = 3  # … and so may take longer by the clock


@dataclass(frozen=True)
class Services:
    """Everything that the five steps need, and the steps themselves, each for one claimed attachment."""

    settings: Settings
    catalogue: Catalogue
    storage: Storage
    staging: Staging
    http_client: HttpClient
    sandbox: Sandbox
    preview_sandbox: Sandbox
    notifiers: Sequence[Notifier]
    webhooks: Webhooks
    antivirus: Antivirus | None = None

    def fetch(self, claim: Claim, _: None = None) -> Fetched:
        return fetch(
            claim.attachment,
            intake=claim.intake,
            held=claim.content_match is not None,
            staging=self.staging,
            http_client=self.http_client,
            storage=self.storage,
            settings=self.settings,
        )

    def detect_many(self, work: Sequence[tuple[Claim, Fetched]]) -> list[Detected | PipelineError]:
        """What each of these is, or the error that `detect` raises, or `StillRunning` (see steps.detect), in order."""
        folder = str(self.staging.folder.absolute())
        lost = [None if self.staging.exists(claim.id) else StagingLostError(claim.id) for claim, _ in work]
        asked = [
            StagedFile(claim.attachment, fetched, f"{folder}/{claim.id}")
            for (claim, fetched), error in zip(work, lost, strict=True)
            if not error
        ]
        found = iter(detect_many(asked, sandbox=self.sandbox, settings=self.settings))
        return [error or next(found) for error in lost]

    def validate(self, claim: Claim, detected: Detected) -> Validated:
        known = validate_checked(detected, settings=self.settings)
        if known is not None:
            return known
        path = self.staging.path(claim.id)
        return validate(detected, path=path, sandbox=self.sandbox, settings=self.settings)

    def persist_many(self, work: Sequence[tuple[Claim, Validated]]) -> list[Record | PipelineError]:
        """Persists several, after the antivirus has looked at each: what comes of each, or its error, in order."""
        refused = self._scan(work)
        clean = [item for item, refusal in zip(work, refused, strict=True) if not refusal]
        paths = [self.staging.file_path(claim.id) for claim, _ in clean]
        results = iter(persist_many(clean, paths=paths, storage=self.storage, catalogue=self.catalogue))
        return [refusal or next(results) for refusal in refused]

    def _scan(self, work: Sequence[tuple[Claim, Validated]]) -> list[PipelineError | None]:
        if not (antivirus := self.antivirus):
            return [None] * len(work)

        def scan(item: tuple[Claim, Validated]) -> None:
            claim, validated = item
            antivirus.check(self.staging.path(claim.id), size=validated.detected.fetched.size)

        return map_parallel(scan, work)

    def notify_many(self, work: Sequence[tuple[Claim, Failure | None]]) -> list[Record | PipelineError]:
        """`notify` for several: each one's record, or the error that it alone has met, in the order of `work`."""
        results = [self._ended(claim, ending) for claim, ending in work]
        ended = {place: record for place, record in enumerate(results) if isinstance(record, Record)}
        told = {place: self._outcome(work[place][0], record) for place, record in ended.items()}
        notify_many(list(told.values()), self.notifiers)
        moves = [self._closing(work[place][0], ended[place], one) for place, one in told.items()]
        for place, finished in zip(told, self.catalogue.finish_many(moves), strict=True):
            results[place] = finished
        self._ring(moves)
        return results

    def _ended(self, claim: Claim, ending: Failure | None) -> Record | PipelineError:
        if ending is None:
            return claim.record
        try:
            return self.catalogue.mark_failed(claim, ending)
        except PipelineError as error:
            return error

    def _outcome(self, claim: Claim, record: Record) -> Outcome:
        url = self.storage.url(record.storage_key) if record.storage_key else None
        return build_outcome(record, url, claim.attachment)

    def _closing(self, claim: Claim, record: Record, told: Outcome) -> FinishRequest:
        receivers = self.webhooks.endpoint_names(told)
        outgoing = OutgoingEvent(told.event_id, told.type, told.json, receivers) if receivers else None
        self._clear_away(claim, record)
        return FinishRequest(claim, announced=True, outgoing=outgoing)

    def _ring(self, finished: Sequence[FinishRequest]) -> None:
        """Wakes those who deliver, once each; also where it was not written down, for it costs them one look."""
        self.webhooks.wake({name for one in finished if one.outgoing for name in one.outgoing.endpoints})

    def finish_unannounced(self, claim: Claim, ending: Failure) -> Record:
        """Ends it without an announcement, for announcing it is what failed, or brought its workers down."""
        record = self.catalogue.mark_failed(claim, ending)
        self._clear_away(claim, record)
        return self.catalogue.finish(claim, announced=False)

    def _clear_away(self, claim: Claim, record: Record) -> None:
        # Before the last word: whoever is killed between the two is replaced, and nobody comes back after it.
        if record.status is not Status.FAILED:  # a replay of a failed one starts from its staged bytes
            self.staging.discard(claim.id)
        if claim.intake and (record.status is Status.STORED or is_infected(record)):
            with suppress(PipelineError):  # announced as it is, it must not fail for what is left lying about
                self.storage.delete(intake_key(claim.id))

    def discard_staged(self, media_id: str) -> None:
        """Removes what was staged for an attachment that somebody else has brought to its end meanwhile."""
        record = self.catalogue.get(media_id)
        if record and record.finished_at and record.status is not Status.FAILED:
            self.staging.discard(media_id)

    def make_preview(self, content: Content) -> Preview:
        """Makes the preview of a content; `save_preview` notes it."""
        return derive(
            content, storage=self.storage, staging=self.staging, sandbox=self.preview_sandbox, settings=self.settings
        )

    def save_preview(self, preview: Preview) -> None:
        keep(preview, storage=self.storage, catalogue=self.catalogue)

    def discard_preview(self, sha256: str) -> None:
        discard(sha256, storage=self.storage, catalogue=self.catalogue)

    def close(self) -> None:
        self.sandbox.close()
        self.preview_sandbox.close()
        self.http_client.close()
        self.catalogue.close()


def is_infected(record: Record) -> bool:
    """Whether it was refused for what the antivirus found: nothing of it is kept, not even for a replay."""
    return record.status is Status.REJECTED and record.error_code == Code.MALWARE


def build_services(settings: Settings, *, durable: bool = False, wait_s: float = WAIT_S) -> Services:
    """New services. With `durable` an accepted attachment is on disk before `accept` returns.

    `wait_s` is how long a call to the catalogue waits for what others hold locked.

    Raises:
        SettingsError: a setting that only its user can judge is wrong.
    """
    http_client = HttpClient(
        allow_private=settings.fetch_allow_private,
        ports=settings.fetch_ports,
        per_host=settings.fetch_per_host,
        connect_timeout_s=settings.fetch_connect_timeout_s,
        read_timeout_s=settings.fetch_read_timeout_s,
    )
    http_client.rate_limiter = LocalRateLimiter(settings.fetch_rate, share=share_of_rate(settings))
    sandbox = Sandbox(
        processes=settings.sandbox_processes,
        memory_mb=settings.sandbox_memory_mb,
        cpu_s=settings.sandbox_cpu_s,
        wall_s=settings.sandbox_wall_s,
        preload=DECODER_MODULES,
    )
    preview_sandbox = Sandbox(  # of its own: whoever checks an attachment does not wait until a picture is drawn
        processes=settings.sandbox_processes,
        memory_mb=settings.sandbox_memory_mb,
        cpu_s=settings.sandbox_cpu_s,
        wall_s=settings.sandbox_wall_s * DRAWING_PATIENCE,
        preload=PREVIEW_MODULES,
        nice=DRAWING_NICE,
    )
    allowed_types(settings.allowed_types)  # a name that is none stops the start, not the first attachment
    return Services(
        settings=settings,
        catalogue=Catalogue(settings.database, durable=durable, wait_s=wait_s),
        storage=open_storage(settings.storage),
        staging=Staging(settings.staging),
        http_client=http_client,
        sandbox=sandbox,
        preview_sandbox=preview_sandbox,
        notifiers=build_notifiers(settings, http_client),
        antivirus=_antivirus(settings),
        webhooks=build_webhooks(settings, http_client),
    )


def _antivirus(settings: Settings) -> Antivirus | None:
    if settings.clamd_address is None:
        return None
    return Antivirus(Clamd(settings.clamd_address), timeout_s=settings.clamd_timeout_s)


def share_of_rate(settings: Settings) -> float:
    """Which part of a host's rate a process has that cannot ask the others: as if this machine's were all."""
    return 1 / settings.web_concurrency


def services() -> Services:
    """This process's services, made at first use. A forked child makes its own."""
    return _services_of(os.getpid())


@lru_cache(maxsize=1)
def _services_of(_pid: int) -> Services:
    return build_services(current_settings())
