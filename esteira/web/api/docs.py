"""`/docs` and `/openapi.json`: Swagger UI and the OpenAPI description, for callers with a token or a login.

Swagger UI is served from the files of the package fastapi-offline, so that the page needs no other host.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from esteira.web.api.openapi import describe
from esteira.web.auth.dependencies import DocsReader, authenticator_of
from esteira.web.auth.logins import logged_in, login_path
from pipeline.gateways import UnauthorizedError
from pipeline.security.roles import Permission

PATH = "/docs"
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
MAX_AGE_S = 3600  # for how long a browser may keep these files
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def show_docs(request: Request) -> Response:
    """The page. A browser that is not logged in is redirected to the login, if the dashboard has one."""
    headers = {**HEADERS, "Cache-Control": "no-store"}
    if not logged_in(request):
        try:
            (await authenticator_of(request).authenticate(request)).require(Permission.DOCS)
        except UnauthorizedError:
            if not _can_log_in(request):
                raise
            return RedirectResponse(login_path(PATH), 303, headers=headers)
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Esteira API",
        swagger_js_url=f"{PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{PATH}/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"docExpansion": "list", "defaultModelsExpandDepth": 0},
    )
    html = bytes(page.body).decode()
    return HTMLResponse(html, headers={**headers, "Content-Security-Policy": _policy(html)})


@router.get(PATH + "/{name}", dependencies=[DocsReader])
async def get_file(name: str) -> Response:
    """A script or style sheet of Swagger UI."""
    if name not in FILES:
        raise HTTPException(404)
    content = (resources.files("fastapi_offline") / "static" / name).read_bytes()
    headers = {**HEADERS, "Cache-Control": f"private, max-age={MAX_AGE_S}"}
    return Response(content, headers=headers, media_type=FILES[name])


@router.get("/openapi.json", dependencies=[DocsReader])
async def get_openapi(request: Request) -> Response:
    """The OpenAPI description of this app."""
    return Response(_openapi_json(request.app), media_type="application/json")


@cache
def _openapi_json(app: FastAPI) -> bytes:
    return bytes(JSONResponse(describe(app)).body)


def _can_log_in(request: Request) -> bool:
    is_browser = "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers
    return is_browser and getattr(request.app.state, "logins", None) is not None


def _policy(html: str) -> str:
    """The Content-Security-Policy of the page: its own files, its one inline script, and calls to this server.

    Swagger UI needs `data:` images for its icons.
    """
    [script] = [part.partition("</script>")[0] for part in html.split("<script>")[1:]]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
        )
    )
