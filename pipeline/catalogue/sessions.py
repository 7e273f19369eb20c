"""Which gateways have a session of a name. Sessions of two gateways with the same name are two sessions."""

from __future__ import annotations

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

        def work(session: Session) -> list[str]:
            found, gateway = [], ""
            while (row := session.row(NEXT_GATEWAY, gateway=gateway)) and row[0] is not None:
                gateway = row[0]
                if session.row(HAS_SESSION, gateway=gateway, session=name):
                    found.append(gateway)
            return found

        return self._database.read(work)
