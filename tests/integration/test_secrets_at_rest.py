"""Media keys and source URLs at rest, with real workers: in the database, its log, Redis, logs and file modes."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.maintenance.tasks import remove_sources
from pipeline.errors import Code
from pipeline.models import Record, Status
from pipeline.security.encryption import SourceCipher
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.whatsapp_media import Encrypted, encrypt

MakeSystem = Callable[..., RunningSystem]
KEY, NEW = f"{'A' * 42}E=", f"{'b' * 42}A="
MEDIA_KEY = bytes(range(7, 39))
PLACE = "signed-place"


def forms() -> list[bytes]:
    """The forms of the media key and the URL that a search would try."""
    encoded = base64.b64encode(MEDIA_KEY).decode()
    texts = [encoded.rstrip("="), MEDIA_KEY.hex(), MEDIA_KEY.hex().upper(), PLACE]
    return [MEDIA_KEY, *(text.encode() for text in texts), base64.b64encode(PLACE.encode())]


def files_with_secrets(*folders: Path) -> list[str]:
    """The names of all files below that contain the media key or the URL."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert paths
    return [path.name for path in paths if any(form in path.read_bytes() for form in forms())]


def submit(system: RunningSystem, server: MediaServer, file: Encrypted, **fields: str) -> str:
    return system.submit(url=server.url(PLACE), kind="image", **file.fields(), **fields).id


@pytest.fixture
def file() -> Encrypted:
    return encrypt(photo(), key=MEDIA_KEY)


@pytest.fixture
def server(file: Encrypted) -> Iterator[MediaServer]:
    with MediaServer({PLACE: file.data}) as server:
        yield server


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Sets a umask that removes no permission bits, which workers and the hook inherit."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_encrypted_attachment_leaves_no_secret_anywhere(
    own_valkey: ValkeyServer, tmp_path: Path, file: Encrypted, server: MediaServer
) -> None:
    system = RunningSystem(tmp_path / "esteira", own_valkey.url, {"ENCRYPTION_KEYS": KEY, "MEDIA_ATTEMPTS": "1"})
    folders = (system.folder, own_valkey.data)
    waiting = submit(system, server, file)
    assert files_with_secrets(*folders) == []  # the row waits, and its message is in Redis
    gone = system.submit(url=server.url(f"gone-{PLACE}"), media_key=file.media_key, kind="image").id
    with system.workers():
        system.wait_finished(waiting, gone)
    assert system.record(waiting).status is Status.DONE
    assert system.record(gone).status is not Status.DONE
    system.close()
    assert files_with_secrets(*folders) == []


def test_done_attachment_leaves_no_secret_without_encryption(
    own_valkey: ValkeyServer, tmp_path: Path, file: Encrypted, server: MediaServer
) -> None:
    system = RunningSystem(tmp_path / "esteira", own_valkey.url, {})
    ids = [submit(system, server, file, session=f"s{number}") for number in range(8)]
    assert files_with_secrets(system.folder) != []
    with system.workers():
        assert {record.status for record in system.wait_finished(*ids)} == {Status.DONE}
        remove_sources(system.services)  # as the workers do every minute: the log has older versions of the rows
        wait_until(lambda: not files_with_secrets(system.folder, own_valkey.data), 10)
    system.close()
    assert files_with_secrets(system.folder, own_valkey.data) == []


def test_attachments_wait_for_a_missing_key_and_are_not_lost(
    make_system: MakeSystem, file: Encrypted, server: MediaServer
) -> None:
    """The workers were started without the key, and then with it."""
    submitted = make_system(encryption_keys=KEY)
    media_id = submit(submitted, server, file)
    [lacking] = SourceCipher([KEY]).key_ids
    without = make_system(encryption_keys=NEW)

    def waiting() -> Record | None:
        record = without.record(media_id)
        return record if record.error_code == Code.ENCRYPTION_KEY else None

    with without.workers():
        wait_until(lambda: waiting() is not None, 20)
        record = waiting()
        assert record
        assert (record.status, record.attempts) == (Status.RECEIVED, 0)
        assert lacking in str(record.error)
    without.reap_dead_workers()
    without.queue.client.flushall()
    submitted.sweep()
    both = make_system(encryption_keys=f"{NEW},{KEY}")
    with both.workers():
        [record] = both.wait_finished(media_id)
    assert (record.status, record.error_code) == (Status.DONE, None)


def test_attachment_with_a_lost_key_can_be_cancelled(
    make_system: MakeSystem, file: Encrypted, server: MediaServer
) -> None:
    media_id = submit(make_system(encryption_keys=KEY), server, file)
    without = make_system()
    with without.workers():
        wait_until(lambda: without.record(media_id).error_code == Code.ENCRYPTION_KEY, 20)
        assert without.services.catalogue.cancellations.request(media_id)
        without.queue.client.flushall()  # instead of thirty seconds until the next attempt
        without.sweep()
        [record] = without.wait_finished(media_id)
    assert (record.status, record.error_code) == (Status.REJECTED, Code.CANCELLED)


def test_rotation_while_workers_run_loses_nothing(make_system: MakeSystem) -> None:
    photos = {f"{number}.jpg": photo(size=(16, 12)) for number in range(60)}
    old, both = make_system(encryption_keys=f"{KEY},{NEW}"), make_system(encryption_keys=f"{NEW},{KEY}")
    with MediaServer(photos) as photo_server, both.workers(threads=2):
        ids = []
        for name in photos:
            ids.append(old.submit(url=photo_server.url(name), kind="image").id)
            page = both.services.catalogue.sources.rotate_page(after="")
            assert page is None or not page.unreadable
        records = both.wait_finished(*ids)
    assert {record.status for record in records} == {Status.DONE}
    assert both.services.catalogue.sources.count_by_key() == {}


def exposed(folder: Path) -> dict[str, str]:
    """The modes of all files and directories below that others may use, by name. Sockets are left out."""
    paths = [path for path in folder.rglob("*") if not path.is_socket()]
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in paths}
    return {name: oct(mode) for name, mode in modes.items() if mode & 0o077}


@pytest.mark.usefixtures("open_umask")
def test_hook_and_workers_create_private_files_under_any_umask(
    make_system: MakeSystem, tmp_path: Path, file: Encrypted, server: MediaServer
) -> None:
    system = make_system(previews="true")
    inline = system.submit(data=base64.b64encode(photo()).decode(), kind="image").id
    assert exposed(tmp_path) == {}
    with system.workers() as workers:
        workers.log.chmod(0o600)  # the test itself has created it
        system.wait_finished(inline, submit(system, server, file))
        wait_until(lambda: any("thumb" in str(path) for path in (tmp_path / "media").rglob("*")), 20)
        assert exposed(tmp_path) == {}
    assert os.umask(0) == 0  # the hook runs in a listener's process and leaves its umask as it is


@pytest.mark.usefixtures("open_umask")
def test_database_that_others_could_read_is_tightened_by_the_migration(make_system: MakeSystem) -> None:
    system = make_system()
    database = system.folder / "esteira.db"
    for before, after in ((0o644, 0o600), (0o666, 0o660), (0o660, 0o660), (0o600, 0o600)):
        database.chmod(before)
        system.services.catalogue.migrate()
        assert stat.S_IMODE(database.stat().st_mode) == after
