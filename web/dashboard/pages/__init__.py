"""The pages of the dashboard, in the order of its navigation. A new one is a module and its line here (see `shell`)."""

from __future__ import annotations

from web.dashboard.pages import now, sessions
from web.dashboard.shell import Page

PAGES: tuple[Page, ...] = (now.PAGE, sessions.PAGE)
