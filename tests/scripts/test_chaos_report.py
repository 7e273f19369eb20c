"""scripts/chaos updates the tables of docs/reliability.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.faults.count import Tally
from scripts.faults.report import update_document
from scripts.faults.run import Job, Order, Outcome

DOCUMENT = "# Title\n\n<!-- chaos: esteira -->\n| fault |\n|---|\n| F09 | old |\n<!-- end -->\n\nafter\n"


def run(name: str, **order: object) -> dict[str, object]:
    tally = Tally(attempts=12, accepted=11, refused=1, finished=11)
    job = Job(name, "a fault", f"{name} --rounds 3")
    return Outcome(job, 3, Order(seed=7, rate=5.0, **order), tally, 10.0).to_json()  # type: ignore[arg-type]


def test_document_rows_are_sorted_and_replaced(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(DOCUMENT)
    update_document(document, [run("F10"), run("F06")])
    update_document(document, [run("F09")])
    rows = [line for line in document.read_text().splitlines() if line.startswith("| F")]
    assert [row.split()[1] for row in rows] == ["F06", "F09", "F10"]
    assert "old" not in document.read_text()
    assert rows[0].startswith("| F06 | a fault | 3 | 11 | 1 | 0 |")
    assert rows[0].endswith("| `scripts/chaos F06 --rounds 3 --seed 7` |")
    assert document.read_text().endswith("<!-- end -->\n\nafter\n")


def test_document_without_a_table_of_the_arm_is_an_error(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(DOCUMENT)
    with pytest.raises(ValueError, match="substring"):
        update_document(document, [run("F06", arm="stock")])
