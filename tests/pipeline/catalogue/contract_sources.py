"""Tests of the sources at rest that every database must pass: encryption, rotation, and removal when done."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from pipeline.catalogue import Catalogue, SingleFlight
from pipeline.catalogue.engines import database_url
from pipeline.errors import Code
from pipeline.models import Claim, ContentMatch, Record, Status
from pipeline.models.replacement_source import NewSource
from pipeline.security.encryption import EncryptionKeyError, SourceCipher
from tests.support.catalogues import SHA256, attachment, claimed, failure, finished, mark_stored, stored

OLD, NEW, LOST = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
MEDIA_KEY = base64.b64encode(bytes(range(32))).decode()
SECRETS = {"media_key": MEDIA_KEY, "url": "https://mmg.example/u/signed?oh=1", "direct_path": "/v/signed-path?oh=2"}


def id_of(key: str) -> str:
    return SourceCipher([key]).key_ids[0]


class SourcesContract:
    """Subclass it with the fixture `url`: an empty, migrated database."""

    @pytest.fixture
    def open_catalogues(self) -> Iterator[list[Catalogue]]:
        catalogues: list[Catalogue] = []
        yield catalogues
        for catalogue in catalogues:
            catalogue.close()

    @pytest.fixture
    def catalogue(self, url: str, open_catalogues: list[Catalogue]) -> Catalogue:
        return self.with_keys(url, open_catalogues)

    def with_keys(self, url: str, open_catalogues: list[Catalogue], *keys: str) -> Catalogue:
        open_catalogues.append(Catalogue(url, keys=keys))
        return open_catalogues[-1]

    def payloads(self, url: str) -> dict[str, str]:
        """The stored sources by id."""
        with create_engine(database_url(url)).connect() as connection:
            return {row[0]: row[1] for row in connection.execute(text("SELECT id, payload FROM media"))}

    def whole_table(self, url: str) -> str:
        with create_engine(database_url(url)).connect() as connection:
            return repr(connection.execute(text("SELECT * FROM media")).all())

    # --- done attachments have no source ---

    def test_done_attachment_keeps_no_source(self, url: str, catalogue: Catalogue) -> None:
        record = finished(catalogue, of=attachment(**SECRETS, file_sha256=SHA256))
        assert self.payloads(url) == {record.id: "{}"}
        assert not [secret for secret in SECRETS.values() if secret.partition("?")[0] in self.whole_table(url)]

    def test_attachment_that_is_announced_after_a_takeover_keeps_no_source(
        self, url: str, catalogue: Catalogue
    ) -> None:
        media_id = catalogue.accept(attachment(**SECRETS)).id
        mark_stored(catalogue, claimed(catalogue, media_id), stored())
        catalogue.finish(claimed(catalogue, media_id, takeover=True), announced=True)
        assert self.payloads(url) == {media_id: "{}"}

    @pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.EXPIRED])
    @pytest.mark.parametrize("announced", [True, False])
    def test_other_outcomes_keep_the_source_for_a_replay(
        self, url: str, catalogue: Catalogue, status: Status, announced: bool
    ) -> None:
        media_id = catalogue.accept(attachment(**SECRETS)).id
        claim = claimed(catalogue, media_id)
        catalogue.mark_failed(claim, failure(status))
        catalogue.finish(claim, announced=announced)
        assert json.loads(self.payloads(url)[media_id])["media_key"] == MEDIA_KEY
        assert catalogue.reopen(media_id)
        assert claimed(catalogue, media_id).attachment.url == SECRETS["url"]

    def test_deleted_attachment_keeps_no_source(self, url: str, catalogue: Catalogue) -> None:
        record = finished(catalogue, Status.FAILED, of=attachment(**SECRETS))
        catalogue.deletions.start(record.id)
        assert self.payloads(url) == {record.id: "{}"}

    def test_removed_source_still_finds_its_content(self, url: str, open_catalogues: list[Catalogue]) -> None:
        for keys in ((), (NEW,)):
            catalogue = self.with_keys(url, open_catalogues, *keys)
            fields = {**SECRETS, "file_sha256": SHA256, "chat": "c"}
            finished(catalogue, of=attachment(session=f"first-{len(keys)}", **fields))
            accepted = catalogue.accept(attachment(session=f"second-{len(keys)}", **fields))
            again = catalogue.claim(accepted.id, lease_s=60, single_flight=SingleFlight())
            assert isinstance(again, Claim)
            assert again.content_match is ContentMatch.BY_SOURCE

    def test_sources_of_older_versions_are_removed_in_parts(self, url: str, catalogue: Catalogue) -> None:
        done = [finished(catalogue, of=attachment(**SECRETS)).id for _ in range(5)]
        waiting = catalogue.accept(attachment(**SECRETS)).id
        with create_engine(database_url(url)).begin() as connection:
            connection.execute(text('UPDATE media SET payload = \'{"url": "https://old.example"}\''))
        assert [catalogue.sources.remove_from_done(limit=2) for _ in range(4)] == [2, 2, 1, 0]
        assert {media_id for media_id, payload in self.payloads(url).items() if payload == "{}"} == set(done)
        assert self.payloads(url)[waiting] != "{}"
        catalogue.sources.purge_log()

    # --- encryption ---

    def test_encrypted_row_contains_no_secret_and_is_claimed_as_declared(
        self, url: str, open_catalogues: list[Catalogue]
    ) -> None:
        catalogue = self.with_keys(url, open_catalogues, NEW)
        declared = attachment(**SECRETS, file_sha256=SHA256, caption="with a caption")
        media_id = catalogue.accept(declared).id
        table = self.whole_table(url)
        forms = {*SECRETS.values(), MEDIA_KEY.rstrip("="), bytes(range(32)).hex(), "signed"}
        assert not [form for form in forms if form in table]
        assert claimed(catalogue, media_id).attachment == declared

    def test_replay_encrypts_the_new_source(self, url: str, open_catalogues: list[Catalogue]) -> None:
        catalogue = self.with_keys(url, open_catalogues, NEW)
        record = finished(catalogue, Status.EXPIRED, of=attachment(**SECRETS))
        catalogue.reopen(record.id, source=NewSource(url="https://other.example/new-place"))
        assert "new-place" not in self.whole_table(url)
        assert claimed(catalogue, record.id).attachment.url == "https://other.example/new-place"

    def test_marks_of_sources_depend_on_the_key(self, url: str, open_catalogues: list[Catalogue]) -> None:
        """Without the key, a reader of the database cannot test a guessed URL against the mark."""
        for keys in ((), (NEW,), (OLD,)):
            catalogue = self.with_keys(url, open_catalogues, *keys)
            catalogue.accept(attachment(url="https://public.example/guess", file_sha256=SHA256))
        with create_engine(database_url(url)).connect() as connection:
            assert len({*connection.execute(text("SELECT source_mark FROM media")).scalars()}) == 3

    def test_plain_rows_of_earlier_versions_are_read(self, url: str, open_catalogues: list[Catalogue]) -> None:
        media_id = self.with_keys(url, open_catalogues).accept(attachment(**SECRETS)).id
        assert claimed(self.with_keys(url, open_catalogues, NEW), media_id).attachment.media_key == MEDIA_KEY

    # --- a missing key ---

    @pytest.mark.parametrize("flight", [None, SingleFlight()])
    @pytest.mark.parametrize("keys", [(), (NEW,)])
    def test_missing_key_leaves_the_row_waiting(
        self, url: str, open_catalogues: list[Catalogue], keys: tuple[str, ...], flight: SingleFlight | None
    ) -> None:
        media_id = self.with_keys(url, open_catalogues, LOST).accept(attachment(**SECRETS, file_sha256=SHA256)).id
        before = self.payloads(url)
        without = self.with_keys(url, open_catalogues, *keys)
        for _ in range(2):
            with pytest.raises(EncryptionKeyError, match=id_of(LOST)):
                without.claim(media_id, lease_s=60, single_flight=flight)
        record = without.get(media_id)
        assert isinstance(record, Record)
        assert (record.status, record.error_code, record.attempts) == (Status.RECEIVED, Code.ENCRYPTION_KEY, 0)
        assert self.payloads(url) == before
        restored = self.with_keys(url, open_catalogues, NEW, LOST)
        claim = claimed(restored, media_id)
        assert claim.attachment.media_key == MEDIA_KEY
        mark_stored(restored, claim, stored())
        assert restored.finish(claim, announced=True).error_code is None

    def test_missing_key_keeps_no_other_attachment_waiting(self, url: str, open_catalogues: list[Catalogue]) -> None:
        lost = self.with_keys(url, open_catalogues, LOST).accept(attachment(**SECRETS)).id
        catalogue = self.with_keys(url, open_catalogues, NEW)
        other = catalogue.accept(attachment(**SECRETS)).id
        with pytest.raises(EncryptionKeyError):
            catalogue.claim(lost, lease_s=60)
        assert claimed(catalogue, other).attachment.media_key == MEDIA_KEY

    def test_stored_attachment_is_finished_without_its_key(self, url: str, open_catalogues: list[Catalogue]) -> None:
        catalogue = self.with_keys(url, open_catalogues, LOST)
        media_id = catalogue.accept(attachment(**SECRETS, chat="c")).id
        mark_stored(catalogue, claimed(catalogue, media_id), stored())
        without = self.with_keys(url, open_catalogues)
        claim = claimed(without, media_id, takeover=True)
        assert (claim.attachment.chat, claim.attachment.url) == ("c", None)
        assert without.finish(claim, announced=True).status is Status.DONE
        assert self.payloads(url) == {media_id: "{}"}

    def test_cancelled_attachment_is_finished_without_its_key(self, url: str, open_catalogues: list[Catalogue]) -> None:
        media_id = self.with_keys(url, open_catalogues, LOST).accept(attachment(**SECRETS)).id
        without = self.with_keys(url, open_catalogues)
        assert without.cancellations.request(media_id)
        claim = claimed(without, media_id)
        without.mark_failed(claim, failure(Status.REJECTED, code=Code.CANCELLED))
        assert without.finish(claim, announced=False).status is Status.REJECTED

    def test_replay_without_the_key_changes_nothing(self, url: str, open_catalogues: list[Catalogue]) -> None:
        record = finished(self.with_keys(url, open_catalogues, LOST), Status.FAILED, of=attachment(**SECRETS))
        before, without = self.payloads(url), self.with_keys(url, open_catalogues, NEW)
        with pytest.raises(EncryptionKeyError, match=id_of(LOST)):
            without.reopen(record.id)
        assert self.payloads(url) == before
        assert without.get(record.id) == record

    # --- rotation ---

    def rotate(self, catalogue: Catalogue, *, limit: int = 2) -> int:
        rewritten, after = 0, ""
        while page := catalogue.sources.rotate_page(after=after, limit=limit):
            rewritten, after = rewritten + page.rewritten, page.last_id
        return rewritten

    def test_rotation_rewrites_plain_and_old_rows_once(self, url: str, open_catalogues: list[Catalogue]) -> None:
        plain, old = self.with_keys(url, open_catalogues), self.with_keys(url, open_catalogues, OLD)
        ids = [catalogue.accept(attachment(**SECRETS)).id for catalogue in (plain, old, old, old, plain)]
        finished(old, of=attachment(**SECRETS))
        rotated = self.with_keys(url, open_catalogues, NEW, OLD)
        assert rotated.sources.count_by_key() == {None: 2, id_of(OLD): 3}
        assert self.rotate(rotated) == 5
        assert self.rotate(rotated) == 0
        assert rotated.sources.count_by_key() == {id_of(NEW): 5}
        newest = self.with_keys(url, open_catalogues, NEW)
        assert [claimed(newest, media_id).attachment.media_key for media_id in ids] == [MEDIA_KEY] * 5

    def test_interrupted_rotation_continues(self, url: str, open_catalogues: list[Catalogue]) -> None:
        old = self.with_keys(url, open_catalogues, OLD)
        for _ in range(6):
            old.accept(attachment(**SECRETS))
        rotated = self.with_keys(url, open_catalogues, NEW, OLD)
        assert rotated.sources.rotate_page(after="", limit=4)
        assert rotated.sources.count_by_key() == {id_of(OLD): 2, id_of(NEW): 4}
        assert self.rotate(rotated) == 2

    def test_rotation_skips_and_counts_rows_of_missing_keys(self, url: str, open_catalogues: list[Catalogue]) -> None:
        self.with_keys(url, open_catalogues, LOST).accept(attachment(**SECRETS))
        self.with_keys(url, open_catalogues, OLD).accept(attachment(**SECRETS))
        page = self.with_keys(url, open_catalogues, NEW, OLD).sources.rotate_page(after="")
        assert page
        assert (page.read, page.rewritten, dict(page.unreadable)) == (2, 1, {id_of(LOST): 1})
        assert {id_of(LOST), id_of(NEW)} == {payload[5:13] for payload in self.payloads(url).values()}

    # --- missing keys ---

    def test_missing_keys_of_ended_attachments_are_counted(self, url: str, open_catalogues: list[Catalogue]) -> None:
        lost, new = self.with_keys(url, open_catalogues, LOST), self.with_keys(url, open_catalogues, NEW)
        for status in (Status.FAILED, Status.REJECTED, Status.EXPIRED, Status.FAILED, Status.DONE):
            finished(lost, status, of=attachment(**SECRETS))
        lost.accept(attachment(**SECRETS))
        for status in (Status.FAILED, Status.EXPIRED):
            finished(new, status, of=attachment(**SECRETS))
        assert lost.sources.missing_keys_of_ended() == ({id_of(NEW): 2}, True)
        assert new.sources.missing_keys_of_ended() == ({id_of(LOST): 4}, True)
        assert new.sources.missing_keys() == {id_of(LOST): 1}

    def test_rotation_keeps_what_a_worker_writes_meanwhile(
        self, url: str, open_catalogues: list[Catalogue], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = self.with_keys(url, open_catalogues, OLD)
        media_id = old.accept(attachment(**SECRETS)).id
        rotated = self.with_keys(url, open_catalogues, NEW, OLD)
        decrypt = SourceCipher.decrypt

        def finish_meanwhile(cipher: SourceCipher, stored_text: str) -> str:
            monkeypatch.undo()
            claim = claimed(old, media_id)
            mark_stored(old, claim, stored())
            old.finish(claim, announced=True)
            return decrypt(cipher, stored_text)

        monkeypatch.setattr(SourceCipher, "decrypt", finish_meanwhile)
        page = rotated.sources.rotate_page(after="")
        assert page
        assert page.rewritten == 0
        assert self.payloads(url) == {media_id: "{}"}
