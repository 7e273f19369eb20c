"""The frame of every page: skip link, navigation, settings, and the page's content in `main`.

To add a page:

1. `esteira/web/dashboard/texts/NAME.py` with `EN` and `PT_BR`, the same keys in both; add it to `texts.MODULES`;
2. `esteira/web/dashboard/pages/NAME.py` with `PAGE = Page("/dashboard/NAME", title="NAME.title", icon=…, build=build)`;
   `async def build(view: View) -> None` adds the content, starting with `heading(view.t(…))`;
3. its line in `pages.PAGES`; pages with `in_navigation=False` and paths such as `/dashboard/media/{media_id}` are
   reached by links (the path's values are in `ui.context.client.request.path_params`).

Text is escaped if it is passed as text (`ui.label`, `ui.element(…).text`, `View.t` with values). Never pass text from
strangers to `ui.html`, `ui.markdown` or slots with templates. Use `run_in_threadpool` for long work. Styles are in
`static/dashboard.css`; the policy (see `headers`) forbids style attributes in markup, while NiceGUI's `.style()` and
`.classes()` work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from nicegui import ui
from starlette.requests import Request

from esteira.web.dashboard.parts import box, picture, text
from esteira.web.dashboard.pauses.banner import PauseBanner
from esteira.web.dashboard.plain import ICON, STYLE
from esteira.web.dashboard.static_files import address
from esteira.web.dashboard.texts import LANGUAGES
from esteira.web.dashboard.view import THEMES, View, view_of
from pipeline.security.roles import Permission

SLIDERS = "M4 7h10M18 7h2M4 17h2M10 17h10M14 4v6M6 14v6"
HEAD = "\n".join(
    (
        f'<link rel="icon" href="{ICON}" type="image/svg+xml">',
        *(f'<link rel="stylesheet" href="{style}">' for style in (STYLE, address("media.css"))),
        *(f'<script defer src="{address(name)}" nonce="{{nonce}}"></script>' for name in ("dashboard.js", "media.js")),
    )
)


@dataclass(frozen=True)
class Page:
    """One page: `title` is the key of its name, `icon` the SVG path of a 24 px picture, `build` adds its content.

    `permission` is what a viewer needs to see it. Its actions check their own.
    """

    path: str
    title: str
    icon: str
    build: Callable[[View], Awaitable[None]]
    in_navigation: bool = True
    permission: Permission = Permission.READ


def add_pages(pages: Sequence[Page]) -> None:
    """Registers the pages with NiceGUI, each inside the frame."""
    for page in pages:
        _add(page, [other for other in pages if other.in_navigation])


def _add(page: Page, shown: Sequence[Page]) -> None:
    async def show(request: Request) -> None:
        view = view_of(request)
        title = view.t(page.title)
        ui.page_title(f"{title} · Esteira")
        ui.add_head_html(HEAD.format(nonce=request.scope["esteira.page"]["nonce"]))
        _frame(view, page, shown)
        await PauseBanner(view).start()
        await page.build(view)

    ui.page(page.path)(show)


def _frame(view: View, page: Page, shown: Sequence[Page]) -> None:
    client = ui.context.client
    client.content.props("tabindex=-1")
    with client.layout:
        text("a", view.t("shell.skip"), "skip", href=f"#{client.content.html_id}").move(target_index=0)
        with box("header", "side") as side:
            _brand()
            _navigation(view, page, shown)
            _settings(view)
            text("p", view.t("shell.user", name=view.caller.name, role=view.caller.role), "hint user")
        side.move(target_index=1)


def _brand() -> None:
    with box("a", "brand", href="/"):
        box("img", src=ICON, alt="", width=26, height=26)
        text("span", "Esteira")


def _navigation(view: View, page: Page, shown: Sequence[Page]) -> None:
    with box("nav", "pages", aria_label=view.t("shell.navigation")):
        for other in [other for other in shown if view.caller.may(other.permission)]:
            here = {"aria_current": "page"} if other is page else {}
            with box("a", "page-link", href=other.path, **here):
                picture(other.icon)
                text("span", view.t(other.title))


def _settings(view: View) -> None:
    with box("details", "settings"):
        with box("summary", "page-link"):
            picture(SLIDERS)
            text("span", view.t("shell.settings"))
        with box("div", "settings-panel"):
            _choices(view, "language", LANGUAGES)
            _choices(view, "theme", {name: view.t(f"shell.theme.{name}") for name in THEMES})
            with box("form", method="post", action="/logout"):
                text("button", view.t("shell.logout"), "button", type="submit")
                text("button", view.t("shell.logout.everywhere"), "button", type="submit", name="everywhere", value="1")


def _choices(view: View, name: str, choices: Mapping[str, str]) -> None:
    label = view.t(f"shell.{name}")
    with box("form", "choices", method="post", action="/preferences", aria_label=label):
        text("span", label, "choices-label")
        box("input", type="hidden", name="next", value=view.path)
        for value, named in choices.items():
            chosen = "true" if value == getattr(view, name) else "false"
            text("button", named, "button small", type="submit", name=name, value=value, aria_pressed=chosen)
