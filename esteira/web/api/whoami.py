"""`GET /whoami`: the name, the role and the sessions of the token that is sent."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from esteira.web.api.headers import NoStore
from esteira.web.auth.dependencies import AnyCaller
from pipeline.security.roles import PERMISSIONS, Permission, Role

router = APIRouter(dependencies=[NoStore], tags=["system"])


class WhoAmI(BaseModel):
    """A caller. `sessions` are patterns `gateway:session`, or `["*"]` for all; `expires` is Unix seconds or null."""

    name: str
    role: Role
    sessions: list[str]
    permissions: list[Permission]
    token_id: str | None
    expires: int | None


@router.get("/whoami")
def show_caller(caller: AnyCaller) -> WhoAmI:
    """Shows who the token is: its name, its role, its sessions and its expiry."""
    permissions = sorted(permission for permission in PERMISSIONS[caller.role] if caller.may(permission))
    return WhoAmI(
        name=caller.name,
        role=caller.role,
        sessions=caller.scope.texts(),
        permissions=permissions,
        token_id=caller.token_id,
        expires=caller.expires,
    )
