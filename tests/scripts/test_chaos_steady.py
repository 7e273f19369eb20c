"""The steady run fails only if resource usage grows."""

from __future__ import annotations

import pytest

from scripts.faults.resource_usage import Reading, Usage
from scripts.faults.steady import growths

COUNT = 90  # readings, ten seconds apart


def readings(*, mb: float = 0.0, files: float = 0.0, early_mb: float = 0.0) -> list[Reading]:
    """Readings of fifteen minutes. `mb` and `files`: total growth; `early_mb`: growth of the first four minutes."""
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
    ("growth", "broken"),
    [
        ({}, set()),
        ({"early_mb": 80.0}, set()),
        ({"mb": 9.0}, set()),
        ({"mb": 30.0}, {"pss"}),
        ({"files": 30.0}, {"files"}),
    ],
)
def test_growth_is_judged_by_the_last_two_thirds(growth: dict[str, float], broken: set[str]) -> None:
    found_growth = growths(readings(**growth))
    assert {growth.measure for growth in found_growth if not growth.within_limit} == broken


def test_growth_is_reported_per_hour() -> None:
    [memory] = [growth for growth in growths(readings(mb=15.0)) if growth.measure == "pss"]
    assert memory.per_hour == pytest.approx(60, rel=0.05)
    assert str(memory).startswith("workers 200 → 216 MB (+")


def test_role_that_appears_later_grows_from_zero() -> None:
    late = [Reading(at=step * 10.0, roles={"web": Usage(pss=50.0)} if step > 45 else {}) for step in range(COUNT)]
    assert {growth.role for growth in growths(late) if not growth.within_limit} == {"web"}
