"""Builds the objects that the steps need from the settings, and runs the steps with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from pipeline.catalogue import WAIT_S, Catalogue, FinishRequest, OutgoingEvent, Preview
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import Code, GoneError, PermanentError, PipelineError, StagingLostError, TooLargeError
from pipeline.http_client import HttpClient
from pipeline.http_client.open import open_download_client, open_gateway_client
from pipeline.intake_services import IntakeServices
from pipeline.media_types import allowed_types
from pipeline.media_types.decoding import decoding_sandbox, preview_sandbox
from pipeline.models import Claim, Detected, Failure, Fetched, GoneSource, Outcome, Record, Status, Validated
from pipeline.notifiers import Notifier, build_notifiers
from pipeline.notifiers.webhooks import Webhooks, build_webhooks
from pipeline.parallel import map_parallel
from pipeline.sandbox import Sandbox
from pipeline.scrubber import hide_secrets
from pipeline.security.antivirus import Antivirus, open_antivirus
from pipeline.steps.detect import StagedFile, detect_many
from pipeline.steps.event_urls import EventUrls
from pipeline.steps.fetch import fetch, fetch_from_gateway
from pipeline.steps.notify import build_outcome, notify_many
from pipeline.steps.other_source import OtherSourceError
from pipeline.steps.persist import persist_many
from pipeline.steps.preview import Content, discard_preview, make_preview, save_preview
from pipeline.steps.reupload import Reuploader
from pipeline.steps.validate import validate, validate_checked
from pipeline.storage import intake_key, open_storage
from pipeline.storage.staging import Staging


@dataclass(frozen=True)
class Services(IntakeServices):
    """The objects that the steps need. Its methods run the steps of `pipeline.steps` with them."""

    http_client: HttpClient
    sandbox: Sandbox
    preview_sandbox: Sandbox
    notifiers: Sequence[Notifier]
    webhooks: Webhooks
    event_urls: EventUrls
    gateway_client: HttpClient
    reuploader: Reuploader
    antivirus: Antivirus | None = None

    def fetch(self, claim: Claim, gone: GoneSource | None = None) -> Fetched:
        """Runs `pipeline.steps.fetch.fetch`. With `gone` the gateway is asked instead of the source.

        Raises:
            GoneError: the source no longer has the file, and its gateway can be asked.
            PermanentError: as the step; the message of `too_large` names the setting.
        """
        try:
            return self._fetch(claim, gone)
        except TooLargeError as error:
            setting = self.settings.size_setting(claim.attachment.kind)
            raise PermanentError(error.code, f"{error.message} ({setting})") from error

    def _fetch(self, claim: Claim, gone: GoneSource | None) -> Fetched:
        attachment, has_content = claim.attachment, claim.content_match is not None
        if gone:
            max_bytes = self.settings.max_bytes(attachment.kind)
            return fetch_from_gateway(
                attachment,
                file=self.reuploader.file(attachment, gone, max_bytes=max_bytes),
                staging=self.staging,
                stored=self.storage if has_content else None,
                max_bytes=max_bytes,
            )
        try:
            return self._fetch_from_source(claim)
        except PermanentError as error:
            if error.code == Code.SOURCE_GONE and self.reuploader.can_ask(attachment):
                raise GoneError(error.message) from error
            raise

    def _fetch_from_source(self, claim: Claim) -> Fetched:
        try:
            return fetch(
                claim.attachment,
                intake=claim.intake,
                content_in_storage=claim.content_match is not None,
                staging=self.staging,
                http_client=self.http_client,
                storage=self.storage,
                settings=self.settings,
            )
        except OtherSourceError as error:
            if claim.record.attempts + 1 < self.settings.media_attempts:
                raise
            raise PermanentError(Code.SOURCE_GONE, error.message) from error  # no attempt is left for the other source

    def detect_many(self, work: Sequence[tuple[Claim, Fetched]]) -> list[Detected | PipelineError]:
        """Runs `pipeline.steps.detect.detect_many` on the files that are still staged.

        Returns the result, the error or `StillRunning` of each, in order.
        """
        directory = str(self.staging.folder.absolute())
        missing = [None if self.staging.exists(claim.id) else StagingLostError(claim.id) for claim, _ in work]
        files = [
            StagedFile(claim.attachment, fetched, f"{directory}/{claim.id}")
            for (claim, fetched), error in zip(work, missing, strict=True)
            if not error
        ]
        results = iter(detect_many(files, sandbox=self.sandbox, settings=self.settings))
        return [error or next(results) for error in missing]

    def validate(self, claim: Claim, detected: Detected) -> Validated:
        """Runs `pipeline.steps.validate.validate`, unless detect has checked the file already."""
        validated = validate_checked(detected, settings=self.settings)
        if validated is not None:
            return validated
        path = self.staging.path(claim.id)
        return validate(detected, path=path, sandbox=self.sandbox, settings=self.settings)

    def persist_many(self, work: Sequence[tuple[Claim, Validated]]) -> list[Record | PipelineError]:
        """Scans the files for malware and runs `pipeline.steps.persist.persist_many` on the clean ones.

        Returns the record or the error of each, in order.
        """
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
        """Records failures, runs `pipeline.steps.notify.notify_many`, and finishes the attachments.

        The transaction that finishes an attachment also adds its webhook deliveries. Returns the record or the error of
        each, in the order of `work`; the error is RetryableError (`catalogue`) or SupersededError.
        """
        results = [self._record_failure(claim, failure) for claim, failure in work]
        records = {index: record for index, record in enumerate(results) if isinstance(record, Record)}
        outcomes = {index: self._outcome(work[index][0], record) for index, record in records.items()}
        notify_many(list(outcomes.values()), self.notifiers)
        requests = [self._finish_request(work[index][0], records[index], event) for index, event in outcomes.items()]
        for index, finished in zip(outcomes, self.catalogue.finish_many(requests), strict=True):
            results[index] = finished
        # Also endpoints whose transaction failed: waking them costs one query.
        self.webhooks.wake({name for request in requests if request.outgoing for name in request.outgoing.endpoints})
        return results

    def _record_failure(self, claim: Claim, failure: Failure | None) -> Record | PipelineError:
        if failure is None:
            return claim.record
        try:
            return self.catalogue.mark_failed(claim, failure)
        except PipelineError as error:
            return error

    def _outcome(self, claim: Claim, record: Record) -> Outcome:
        return build_outcome(record, self.event_urls.of(record), claim.attachment)

    def _finish_request(self, claim: Claim, record: Record, event: Outcome) -> FinishRequest:
        endpoints = self.webhooks.endpoint_names(event)
        outgoing = OutgoingEvent(event.event_id, event.type, event.json, endpoints) if endpoints else None
        self._clean_up(claim, record)
        return FinishRequest(claim, announced=True, outgoing=outgoing)

    def finish_unannounced(self, claim: Claim, failure: Failure) -> Record:
        """Finishes an attachment without an event, because announcing it failed or killed its workers."""
        record = self.catalogue.mark_failed(claim, failure)
        self._clean_up(claim, record)
        return self.catalogue.finish(claim, announced=False)

    def _clean_up(self, claim: Claim, record: Record) -> None:
        # Before `finish`: a crash in between is retried, a crash afterwards is not.
        if record.status is not Status.FAILED:  # a replay of a failed attachment starts from its staged bytes
            self.staging.discard(claim.id)
        if claim.intake and (record.status is Status.STORED or is_infected(record)):
            with suppress(PipelineError):  # it is announced already; maintenance removes leftovers
                self.storage.delete(intake_key(claim.id))

    def discard_staged(self, media_id: str) -> None:
        """Removes the staged file of an attachment that another worker has finished in the meantime."""
        record = self.catalogue.get(media_id)
        if record and record.finished_at and record.status is not Status.FAILED:
            self.staging.discard(media_id)

    def make_preview(self, content: Content) -> Preview:
        """Runs `pipeline.steps.preview.make_preview`. `save_preview` saves the result."""
        return make_preview(
            content, storage=self.storage, staging=self.staging, sandbox=self.preview_sandbox, settings=self.settings
        )

    def save_preview(self, preview: Preview) -> None:
        """Runs `pipeline.steps.preview.save_preview`."""
        save_preview(preview, storage=self.storage, catalogue=self.catalogue)

    def discard_preview(self, sha256: str) -> None:
        """Runs `pipeline.steps.preview.discard_preview`."""
        discard_preview(sha256, storage=self.storage, catalogue=self.catalogue)

    def close(self) -> None:
        self.sandbox.close()
        self.preview_sandbox.close()
        self.http_client.close()
        self.gateway_client.close()
        self.catalogue.close()


def is_infected(record: Record) -> bool:
    """Whether the antivirus found malware in it. Nothing of such a file is kept, not even for a replay."""
    return record.status is Status.REJECTED and record.error_code == Code.MALWARE


def build_services(settings: Settings, *, durable: bool = False, wait_s: float = WAIT_S) -> Services:
    """Builds new services. With `durable` an accepted attachment is on disk before `accept` returns.

    `wait_s` is how long a call to the catalogue waits for locks.

    Raises:
        SettingsError: a setting is wrong that only the object that uses it can check.
    """
    hide_secrets(settings.secrets())
    http_client = open_download_client(settings)
    storage = open_storage(settings.storage)
    gateway_client = open_gateway_client(settings)
    allowed_types(settings.allowed_types)  # an unknown name fails at the start, not at the first attachment
    return Services(
        settings=settings,
        catalogue=Catalogue(settings.database, keys=settings.source_keys, durable=durable, wait_s=wait_s),
        storage=storage,
        staging=Staging(settings.staging),
        http_client=http_client,
        sandbox=decoding_sandbox(settings),
        preview_sandbox=preview_sandbox(settings),
        notifiers=build_notifiers(settings, http_client),
        gateway_client=gateway_client,
        reuploader=Reuploader(settings, gateway_client),
        antivirus=open_antivirus(settings),
        webhooks=build_webhooks(settings, http_client),
        event_urls=EventUrls(settings, storage),
    )


def services_with(own: IntakeServices) -> Services:
    """The services of this process, with the catalogue of `own`, which may wait for locks for another time."""
    return own if isinstance(own, Services) else replace(services(), catalogue=own.catalogue)


def services() -> Services:
    """The services of this process, built at first use. A forked child builds its own."""
    return _services_of(os.getpid())


@lru_cache(maxsize=1)
def _services_of(_pid: int) -> Services:
    return build_services(current_settings())
