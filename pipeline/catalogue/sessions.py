"""Which gateways have a session of a name. Sessions of two gateways with the same name are two sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, bindparam, func, literal_column, select

from pipeline.catalogue.database import Database
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import media

# Both read the index ix_media_gateway only.
NEXT_GATEWAY = select(func.min(media.c.gateway)).where(media.c.gateway > bindparam("gateway"))
HAS_SESSION: Select[Any] = (
    select(literal_column("1"))
    .where(media.c.gateway == bindparam("gateway"), media.c.session == bindparam("session"))
    .limit(literal_column("1"))
)


class Sessions:
    """The sessions in the table `media`. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def gateways_of(self, name: str) -> list[str]:
        """The gateways that have an attachment of a session with this name."""
        return self.gateways_of_each([name])[name]

    def gateways_of_each(self, names: Sequence[str]) -> dict[str, list[str]]:
        """The same for several names: one statement for each name and gateway, in one transaction."""

        def work(session: Session) -> dict[str, list[str]]:
            gateways = _gateways(session)
            return {
                name: [gateway for gateway in gateways if session.row(HAS_SESSION, gateway=gateway, session=name)]
                for name in names
            }

        return self._database.read(work)


def _gateways(session: Session) -> list[str]:
    found: list[str] = []
    while (row := session.row(NEXT_GATEWAY, gateway=found[-1] if found else "")) and row[0] is not None:
        found.append(row[0])
    return found
