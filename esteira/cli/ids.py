"""The IDs that a command is given: complete, or a beginning that only one attachment or delivery has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, TypeVar

from esteira.cli.output import exit_with, print_message, printable
from pipeline.catalogue import Catalogue, DeliveryRecord
from pipeline.models import Record

LENGTH = 32  # hex digits of an id
MIN_LENGTH = 4  # digits of a beginning; a shorter one is more likely a mistake
SHOWN = 10  # candidates that are listed
USAGE = 2  # exit status

_HEX = re.compile(r"[0-9a-f]+")

R = TypeVar("R", Record, DeliveryRecord)


def media_ids(catalogue: Catalogue, given: Iterable[str]) -> list[str]:
    """The complete IDs of these attachments, each once. An unknown one is returned as it is.

    Ends the command with exit status 2 if a beginning is too short or several attachments have it.
    """
    return _complete(given, lambda prefix: catalogue.search.by_id_prefix(prefix, limit=SHOWN + 1), _media_text)


def media_id(catalogue: Catalogue, given: str) -> str:
    """As `media_ids`, for one attachment."""
    return media_ids(catalogue, [given])[0]


def delivery_ids(catalogue: Catalogue, given: Iterable[str]) -> list[str]:
    """As `media_ids`, for the deliveries of webhooks."""
    return _complete(given, lambda prefix: catalogue.deliveries.by_id_prefix(prefix, limit=SHOWN + 1), _delivery_text)


def _complete(given: Iterable[str], find: Callable[[str], list[R]], describe: Callable[[R], str]) -> list[str]:
    complete = []
    for text in given:
        prefix = text.strip().lower()
        if not _HEX.fullmatch(prefix) or len(prefix) >= LENGTH:
            complete.append(text)
            continue
        if len(prefix) < MIN_LENGTH:
            _refuse(f"esteira: {prefix} is too short: give at least the first {MIN_LENGTH} characters of the ID")
        candidates = find(prefix)
        if len(candidates) > 1:
            _refuse(*_ambiguous(prefix, candidates, describe))
        complete.append(candidates[0].id if candidates else text)
    return list(dict.fromkeys(complete))


def _ambiguous(prefix: str, candidates: Sequence[R], describe: Callable[[R], str]) -> list[str]:
    count = f"more than {SHOWN}" if len(candidates) > SHOWN else str(len(candidates))
    lines: list[str] = [f"  {describe(candidate)}" for candidate in candidates[:SHOWN]]
    return [f"esteira: {prefix} is the beginning of {count} IDs: give more characters of one of them", *lines]


def _refuse(*lines: str) -> NoReturn:
    for line in lines:
        print_message(line)
    exit_with(USAGE)


def _media_text(record: Record) -> str:
    return printable(
        "  ".join(filter(None, (record.id, record.status, record.session, record.name or record.filename)))
    )


def _delivery_text(delivery: DeliveryRecord) -> str:
    return printable("  ".join((delivery.id, delivery.status, delivery.endpoint, delivery.type)))
