"""How a page is presented to one viewer: language, appearance and number formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from esteira.web.auth.logins import ADDRESS_KEY, CALLER_KEY
from esteira.web.dashboard.texts import language_of, text
from pipeline.security.callers import ANONYMOUS, Caller

LANGUAGE_COOKIE, THEME_COOKIE = "esteira_language", "esteira_theme"
THEMES = ("auto", "light", "dark")
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


@dataclass(frozen=True)
class View:
    """`language` is one of `texts.LANGUAGES`, `theme` one of `THEMES`, `path` the current page.

    `caller` is who is logged in, `address` where from. Pages show only what it may do; their actions check it again.
    """

    language: str = "en"
    theme: str = "auto"
    path: str = "/"
    caller: Caller = ANONYMOUS
    address: str = ""

    def t(self, key: str, **values: object) -> str:
        """The text of a key in this language. Values are shown as text, without interpreting markup."""
        return text(self.language, key, **values)

    @property
    def dark(self) -> Literal["True", "False", "None"]:
        """The theme as NiceGUI's template expects it: None follows the system."""
        return {"dark": "True", "light": "False"}.get(self.theme, "None")  # type: ignore[return-value]

    def number(self, n: float, *, digits: int = 0) -> str:
        """`1,234.5`, or `1.234,5` in Portuguese."""
        written = f"{n:,.{digits}f}"
        return written.translate(str.maketrans(",.", ".,")) if self.language == "pt-BR" else written

    def size(self, n: int) -> str:
        """A size in bytes for people: `512 B`, `1.2 MB`."""
        size, unit = float(n), "B"
        for unit in ("B", "kB", "MB", "GB", "TB"):
            if size < 1000 or unit == "TB":
                break
            size /= 1000
        return f"{self.number(size, digits=0 if unit == 'B' or size >= 100 else 1)} {unit}"

    def span(self, seconds: float) -> str:
        """A duration in its largest units: `320 ms`, `4.2 s`, `3 min 20 s`, `5 h 12 min`, `2 d 4 h`."""
        if seconds < 1:
            return f"{self.number(1000 * seconds)} ms"
        if seconds < MINUTE_S:
            return f"{self.number(seconds, digits=1 if seconds < 10 else 0)} s"
        total = int(seconds)
        if total < HOUR_S:
            return f"{total // MINUTE_S} min {total % MINUTE_S} s"
        if total < DAY_S:
            return f"{total // HOUR_S} h {total % HOUR_S // MINUTE_S} min"
        return f"{self.number(total // DAY_S)} d {total % DAY_S // HOUR_S} h"


def view_of(request: HTTPConnection) -> View:
    """The view for a browser: from its cookies, else from its headers, and from its login."""
    language = language_of(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
    theme = request.cookies.get(THEME_COOKIE, "auto")
    caller = request.scope.get(CALLER_KEY, ANONYMOUS)
    address = request.scope.get(ADDRESS_KEY, "")
    return View(language, theme if theme in THEMES else "auto", request.url.path, caller, address)
