"""The listener hook, with a real catalogue and a real Valkey and no worker."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import PayloadError, RetryableError
from pipeline.models import Status
from tests.support.system import Plant, photo


def test_a_new_attachment_is_written_down_and_queued(plant: Plant) -> None:
    receipt = plant.submit(url="https://media.example/a.jpg")
    assert (receipt.mode, receipt.status) == ("queued", Status.RECEIVED)
    assert plant.record(receipt.id).status is Status.RECEIVED
    assert plant.belt.counts()["fetch"]["ready"] == 1


def test_the_same_message_twice_is_one_row_and_answered_with_its_state(plant: Plant) -> None:
    first = plant.submit(message_id="same", url="https://media.example/a.jpg")
    again = plant.submit(message_id="same", url="https://media.example/a.jpg")
    assert (again.id, again.mode, again.status) == (first.id, "duplicate", Status.RECEIVED)
    assert plant.services.catalogue.totals()["duplicates"] == 1


def test_a_hundred_copies_at_once_are_one_job(plant: Plant) -> None:
    attachment = plant.attachment(url="https://media.example/a.jpg")
    with ThreadPoolExecutor(16) as pool:
        modes = [receipt.mode for receipt in pool.map(plant.hook.take, [attachment] * 100)]
    assert sorted(set(modes)) == ["duplicate", "queued"]
    assert modes.count("queued") == 1
    assert plant.belt.counts()["fetch"]["ready"] == 1


def test_inline_bytes_stand_in_storage_before_the_answer(plant: Plant) -> None:
    image = photo()
    receipt = plant.submit(data=base64.b64encode(image).decode())
    assert b"".join(plant.services.storage.chunks(f"intake/{receipt.id}")) == image


def test_a_data_url_is_taken_without_its_head(plant: Plant) -> None:
    image = photo()
    receipt = plant.submit(data="data:image/jpeg;base64," + base64.b64encode(image).decode())
    assert b"".join(plant.services.storage.chunks(f"intake/{receipt.id}")) == image


def test_large_base64_is_decoded_piece_by_piece(plant: Plant) -> None:
    whole = photo(size=(1600, 1200))
    assert len(whole) > 512 * 1024
    receipt = plant.submit(data=base64.b64encode(whole).decode())
    assert b"".join(plant.services.storage.chunks(f"intake/{receipt.id}")) == whole


def test_base64_in_lines_is_taken(plant: Plant) -> None:
    image = photo()
    receipt = plant.submit(data=base64.encodebytes(image).decode())
    assert b"".join(plant.services.storage.chunks(f"intake/{receipt.id}")) == image


@pytest.mark.parametrize("data", ["!!!!", "abcde", "A" * 300_000 + "%%%"])
def test_what_is_no_base64_is_named_and_leaves_nothing_behind(plant: Plant, data: str) -> None:
    with pytest.raises(PayloadError, match="data"):
        plant.submit(message_id="bad", data=data)
    assert plant.stored_files() == []
    assert plant.services.catalogue.get(plant.attachment(message_id="bad").id) is None


def test_it_raises_where_nothing_durable_can_be_written(plant: Plant) -> None:
    (plant.folder / "esteira.db").chmod(0o444)
    plant.services.close()
    database = plant.folder / "esteira.db"
    for name in ("esteira.db-wal", "esteira.db-shm"):
        (plant.folder / name).unlink(missing_ok=True)
    database.unlink()
    database.mkdir()
    with pytest.raises(RetryableError):
        plant.submit(url="https://media.example/a.jpg")
    assert plant.belt.counts()["fetch"]["ready"] == 0
