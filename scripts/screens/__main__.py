"""Takes screenshots of every page of the dashboard: light, dark, on a phone and in Portuguese."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich_click as click
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from scripts.benchmarks.dashboard import CHROMIUM, FLAGS, log_in, web_app
from scripts.benchmarks.environment import isolated_services
from scripts.screens.system import busy_system, environment
from tests.support.valkey import free_port

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MAX_BYTES = 150_000
DESKTOP = {"width": 1280, "height": 960}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
    "portuguese": {"viewport": DESKTOP, "color_scheme": "light", "locale": "pt-BR"},
}
SINGLE_PAGES = {"portuguese": "now"}  # one page is enough for these looks
QUERIES = {
    "media": "?search=5511987654321"
}  # one file of each type; the newest files are unfinished and have no previews
SETTLED_MS = 4500  # until charts are drawn and images are loaded


@click.command(help=__doc__)
@click.option("--into", type=click.Path(path_type=Path), default=FOLDER, help="Output folder; default: docs/images.")
@click.option("--page", "pages", multiple=True, help="Only this page, for example now; default: all.")
@click.option("--look", "looks", type=click.Choice(list(LOOKS)), multiple=True, help="Only this look.")
def main(into: Path, pages: tuple[str, ...], looks: tuple[str, ...]) -> None:
    """Takes one screenshot per page and look."""
    into.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(16)
    with isolated_services(api_token=token) as (settings, services):
        os.environ |= environment(settings, settings.var_dir)
        port = free_port()
        with busy_system(settings, services) as ids, web_app(settings, port, token), sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            paths = dict(_paths(ids[0]))
            for look in looks or LOOKS:
                names = pages or ([SINGLE_PAGES[look]] if look in SINGLE_PAGES else paths)
                pictures = {name: paths[name] for name in names}
                _take(chromium, f"http://127.0.0.1:{port}", token, look=look, pictures=pictures, into=into)
            chromium.close()


def _paths(media_id: str) -> Iterator[tuple[str, str]]:
    from esteira.web.dashboard.pages import PAGES  # noqa: PLC0415  NiceGUI is slow to import

    yield "login", "/login"
    for page in PAGES:
        name = page.title.partition(".")[0]
        yield name, page.path.replace("{media_id}", media_id) + QUERIES.get(name, "")


def _take(chromium: Browser, host: str, token: str, *, look: str, pictures: dict[str, str], into: Path) -> None:
    context = chromium.new_context(**{"locale": "en-US", **LOOKS[look]})
    page = context.new_page()
    for name, path in pictures.items():
        if name != "login" and not context.cookies():
            log_in(page, host, token)
        page.goto(host + path)
        page.wait_for_selector("main h1")
        page.wait_for_timeout(SETTLED_MS)
        target = into / f"{name}-{look}.png"
        target.write_bytes(reduce_colours(page.screenshot()))
        click.echo(f"{target} {target.stat().st_size // 1000} kB")
    context.close()


def reduce_colours(png: bytes) -> bytes:
    """Returns the PNG, with fewer colours if it is larger than 150 kB."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    unreduced = io.BytesIO()
    picture.save(unreduced, "PNG", optimize=True)
    if unreduced.tell() <= MAX_BYTES:
        return unreduced.getvalue()
    for colors in (256, 128, 64, 32, 16):
        out = io.BytesIO()
        picture.quantize(colors, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MAX_BYTES:
            break
    return out.getvalue()


if __name__ == "__main__":
    main(prog_name="scripts/screenshots")
