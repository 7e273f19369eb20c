"""The listener hook, with a real catalogue and a real Valkey and no worker."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import PayloadError, RetryableError
from pipeline.models import Status
from tests.support.system import RunningSystem, photo
from tests.support.valkey import free_port


def test_new_attachment_is_recorded_and_queued(system: RunningSystem) -> None:
    receipt = system.submit(url="https://media.example/a.jpg")
    assert (receipt.mode, receipt.status) == ("queued", Status.RECEIVED)
    assert system.record(receipt.id).status is Status.RECEIVED
    assert system.queue.stats.counts()["fetch"]["ready"] == 1


def test_repeated_message_is_a_duplicate(system: RunningSystem) -> None:
    first = system.submit(message_id="same", url="https://media.example/a.jpg")
    again = system.submit(message_id="same", url="https://media.example/a.jpg")
    assert (again.id, again.mode, again.status) == (first.id, "duplicate", Status.RECEIVED)
    assert system.services.catalogue.totals()["duplicates"] == 1


def test_a_hundred_copies_at_once_are_one_job(system: RunningSystem) -> None:
    attachment = system.attachment(url="https://media.example/a.jpg")
    with ThreadPoolExecutor(16) as pool:
        modes = [receipt.mode for receipt in pool.map(system.hook.accept, [attachment] * 100)]
    assert sorted(set(modes)) == ["duplicate", "queued"]
    assert modes.count("queued") == 1
    assert system.queue.stats.counts()["fetch"]["ready"] == 1


def test_inline_bytes_are_stored_before_the_receipt(system: RunningSystem) -> None:
    image = photo()
    receipt = system.submit(data=base64.b64encode(image).decode())
    assert b"".join(system.services.storage.chunks(f"intake/{receipt.id}")) == image


def test_data_url_prefix_is_removed(system: RunningSystem) -> None:
    image = photo()
    receipt = system.submit(data="data:image/jpeg;base64," + base64.b64encode(image).decode())
    assert b"".join(system.services.storage.chunks(f"intake/{receipt.id}")) == image


def test_large_base64_is_decoded_in_pieces(system: RunningSystem) -> None:
    whole = photo(size=(1600, 1200))
    assert len(whole) > 512 * 1024
    receipt = system.submit(data=base64.b64encode(whole).decode())
    assert b"".join(system.services.storage.chunks(f"intake/{receipt.id}")) == whole


def test_base64_with_line_breaks_is_accepted(system: RunningSystem) -> None:
    image = photo()
    receipt = system.submit(data=base64.encodebytes(image).decode())
    assert b"".join(system.services.storage.chunks(f"intake/{receipt.id}")) == image


@pytest.mark.parametrize("data", ["!!!!", "abcde", "A" * 300_000 + "%%%"])
def test_invalid_base64_is_refused_and_leaves_nothing(system: RunningSystem, data: str) -> None:
    with pytest.raises(PayloadError, match="data"):
        system.submit(message_id="bad", data=data)
    assert system.stored_files() == []
    assert system.services.catalogue.get(system.attachment(message_id="bad").id) is None


def test_process_media_raises_if_nothing_can_be_recorded(system: RunningSystem) -> None:
    (system.folder / "spool").write_text("")  # no folder can be made here
    (system.folder / "esteira.db").chmod(0o444)
    system.services.close()
    database = system.folder / "esteira.db"
    for name in ("esteira.db-wal", "esteira.db-shm"):
        (system.folder / name).unlink(missing_ok=True)
    database.unlink()
    database.mkdir()
    with pytest.raises(RetryableError):
        system.submit(url="https://media.example/a.jpg")
    assert system.queue.stats.counts()["fetch"]["ready"] == 0


def test_old_messages_wait_while_redis_is_away(tmp_path: Path) -> None:
    made = RunningSystem(tmp_path, f"redis://127.0.0.1:{free_port()}/0", {})
    data = base64.b64encode(photo()).decode()
    try:
        assert made.submit(data=data, from_history=True).mode == "spooled"
        assert made.submit(data=data).mode == "inline"
    finally:
        made.close()
