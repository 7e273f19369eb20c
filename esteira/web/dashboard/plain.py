"""Pages without NiceGUI and without scripts: login, missing API_TOKEN, page not found."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse

from esteira.web.dashboard.headers import PLAIN_POLICY, SECURITY_HEADERS
from esteira.web.dashboard.static_files import address
from esteira.web.dashboard.texts import LANGUAGES
from esteira.web.dashboard.view import View
from pipeline.config.settings import MIN_API_TOKEN_LENGTH

STYLE = address("dashboard.css")
ICON = address("icon.svg")
FRAME = """<!doctype html>
<html lang="{language}" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{scheme}">
<title>{title} · Esteira</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<link rel="stylesheet" href="{style}">
</head>
<body class="plain">
<main class="door">
<p class="brand"><img src="{icon}" alt="" width="28" height="28"> Esteira</p>
{content}
<form class="languages" method="post" action="/preferences" aria-label="{label}">
<input type="hidden" name="next" value="{path}">
{languages}
</form>
</main>
</body>
</html>
"""
LANGUAGE = '<button type="submit" name="language" value="{code}" class="link" lang="{code}"{current}>{name}</button>'
LOGIN = """<h1>{title}</h1>
<p class="lead">{lead}</p>
<form class="login" method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<input name="username" autocomplete="username" value="esteira" hidden>
<label for="token">{token}</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus
 aria-describedby="hint{described}">
<p id="hint" class="hint">{hint}</p>
{fault}
<button type="submit" class="button primary">{enter}</button>
</form>"""
NOT_FOUND = """<h1>{title}</h1>
<p><a href="/">{back}</a></p>"""
CLOSED = """<h1>{title}</h1>
<p class="lead">{lead}</p>
<p>{how}</p>
<pre><code>echo "API_TOKEN=$(openssl rand -hex 32)" &gt;&gt; .env; chmod 600 .env</code></pre>"""


def login_page(view: View, *, target: str, fault: str = "", status: int = 200, wait_s: float = 0) -> HTMLResponse:
    """The login form. `target` is the path to open afterwards, `fault` the error of the last attempt."""
    content = LOGIN.format(
        title=escape(view.t("login.title")),
        lead=escape(view.t("login.lead")),
        token=escape(view.t("login.token")),
        hint=escape(view.t("login.hint")),
        enter=escape(view.t("login.enter")),
        next=escape(target),
        described=" fault" if fault else "",
        fault=f'<p id="fault" class="fault" role="alert">{escape(fault)}</p>' if fault else "",
    )
    answer = _page(view, view.t("login.title"), content, status=status)
    if wait_s:
        answer.headers["Retry-After"] = str(int(wait_s) + 1)
    return answer


def closed_page(view: View) -> HTMLResponse:
    """Explains how to set an API_TOKEN; status 503."""
    lead = view.t("closed.lead", length=MIN_API_TOKEN_LENGTH)
    texts = {"title": view.t("closed.title"), "lead": lead, "how": view.t("closed.how")}
    content = CLOSED.format(**{name: escape(text) for name, text in texts.items()})
    return _page(view, texts["title"], content, status=503)


def not_found_page(view: View) -> HTMLResponse:
    """The 404 page."""
    content = NOT_FOUND.format(title=escape(view.t("lost.title")), back=escape(view.t("lost.back")))
    return _page(view, view.t("lost.title"), content, status=404)


def _page(view: View, title: str, content: str, *, status: int) -> HTMLResponse:
    languages = "\n".join(
        LANGUAGE.format(code=code, name=escape(name), current=' aria-current="true"' if code == view.language else "")
        for code, name in LANGUAGES.items()
    )
    page = FRAME.format(
        language=view.language,
        theme=view.theme,
        scheme={"light": "light", "dark": "dark"}.get(view.theme, "light dark"),
        title=escape(title),
        icon=ICON,
        style=STYLE,
        content=content,
        label=escape(view.t("shell.language")),
        path=escape(view.path),
        languages=languages,
    )
    headers = {**SECURITY_HEADERS, "Content-Security-Policy": PLAIN_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(page, status, headers)
