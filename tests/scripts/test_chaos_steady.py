"""A run without faults fails if something grows, and only then."""

from __future__ import annotations

import pytest

from scripts.faults.resource_usage import Reading, Usage
from scripts.faults.steady import growths

COUNT = 90  # readings, ten seconds apart


def readings(*, mb: float = 0.0, files: float = 0.0, early_mb: float = 0.0) -> list[Reading]:
    """Fifteen minutes; `mb` and `files` are what is added in all, `early_mb` what the first four minutes add."""
    return [
        Reading(
            at=step * 10.0,
            roles={
                "workers": Usage(
                    processes=6,
                    pss=200 + mb * step / COUNT + early_mb * min(step, 24) / 24 + step % 2,
                    files=int(60 + files * step / COUNT),
                    threads=30,
                )
            },
        )
        for step in range(COUNT)
    ]


@pytest.mark.parametrize(
    ("grown", "broken"),
    [
        ({}, set()),
        ({"early_mb": 80.0}, set()),
        ({"mb": 9.0}, set()),
        ({"mb": 30.0}, {"pss"}),
        ({"files": 30.0}, {"files"}),
    ],
)
def test_what_rises_in_the_last_two_thirds_is_what_counts(grown: dict[str, float], broken: set[str]) -> None:
    found = growths(readings(**grown))
    assert {growth.measure for growth in found if not growth.held} == broken


def test_growth_is_told_per_hour() -> None:
    [memory] = [growth for growth in growths(readings(mb=15.0)) if growth.measure == "pss"]
    assert memory.per_hour == pytest.approx(60, rel=0.05)
    assert str(memory).startswith("workers 200 → 216 MB (+")


def test_a_role_that_comes_later_counts_from_nothing() -> None:
    late = [Reading(at=step * 10.0, roles={"web": Usage(pss=50.0)} if step > 45 else {}) for step in range(COUNT)]
    assert {growth.role for growth in growths(late) if not growth.held} == {"web"}
