"""Response headers that routes share."""

from __future__ import annotations

from fastapi import Depends, Response

PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def _add_private_headers(response: Response) -> None:
    response.headers.update(PRIVATE)


NoStore = Depends(_add_private_headers)  # for JSON that no cache may keep
