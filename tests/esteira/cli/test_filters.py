"""`--since`: ages and dates."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteira.cli.filters import Since

EARLY, LATE = datetime(1990, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001  (hypothesis adds the zone)


@pytest.mark.parametrize(
    ("age", "seconds"), [("45s", 45), ("30m", 1800), ("2h", 7200), ("3d", 259_200), ("1w", 604_800)]
)
def test_since_age_counts_back_from_now(age: str, seconds: int) -> None:
    expected = (time.time() - seconds) * 1000
    assert abs(Since().convert(age, None, None) - expected) < 2000


@pytest.mark.parametrize("value", ["999999w", "1500-01-01", "1969-12-31T00:00:00+00:00"])
def test_since_before_1970_is_0(value: str) -> None:
    assert Since().convert(value, None, None) == 0


def test_since_date_with_time_zone() -> None:
    assert Since().convert("2026-11-22T10:00:00+00:00", None, None) == 1_795_341_600_000


@given(st.datetimes(min_value=EARLY, max_value=LATE, timezones=st.just(UTC)))
def test_since_accepts_every_iso_time(moment: datetime) -> None:
    assert Since().convert(moment.isoformat(), None, None) == int(moment.timestamp() * 1000)


@pytest.mark.parametrize("value", ["", "h", "2y", "-2h", "yesterday", "2026-13-01", "9" * 30 + "w"])
def test_since_rejects_other_values_with_an_example(value: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 30m, 2h, 3d nor a date"):
        Since().convert(value, None, None)
