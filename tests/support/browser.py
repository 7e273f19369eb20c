"""Debian's Chromium with the dashboard of a running web app. It records errors and contacted hosts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.support.web_server import TOKEN, WebServer

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE_MS = 30_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Browser:
    """The browser of one user. `complaints`: console errors, script errors and violations of the content policy."""

    def __init__(self, context: BrowserContext, server: WebServer) -> None:
        self.context = context
        self.server = server
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", self._note_request)
        self.page = self.new_page()

    def new_page(self) -> Page:
        """Opens another tab."""
        page = self.context.new_page()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))
        return page

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    def log_in(self, path: str = "/", *, token: str = TOKEN) -> Page:
        """Opens a page, logs in with the keyboard, and waits until the page has its title."""
        self.page.goto(self.url(path))
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("main h1:not(.door h1)")
        return self.page

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"}:
            self.hosts.add(parts.netloc)


@contextlib.contextmanager
def browser(
    server: WebServer, *, language: str = "en-US", phone: bool = False, dark: bool = False, zone: str | None = None
) -> Iterator[Browser]:
    """Runs a browser without stored data, with this language, width, color scheme and time zone."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        context = chromium.new_context(
            viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]
            has_touch=phone,
            locale=language,
            timezone_id=zone,
            color_scheme="dark" if dark else "light",
        )
        try:
            yield Browser(context, server)
        finally:
            chromium.close()
