"""Building blocks of the pages: native elements, which keyboards and screen readers understand."""

from __future__ import annotations

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement


def box(tag: str, classes: str = "", /, **attributes: str | int) -> Element:
    """An element; `aria_label="…"` becomes the attribute `aria-label`. Values may be any text."""
    return _attributed(ui.element(tag).classes(classes), attributes)


def text(tag: str, content: str, classes: str = "", /, **attributes: str | int) -> TextElement:
    """An element with a text, shown without interpreting markup; assign `.text` to change it."""
    element = TextElement(tag=tag, text=content).classes(classes)
    _attributed(element, attributes)
    return element


def heading(content: str, lead: str = "") -> None:
    """A page's title and one line that describes the page."""
    with box("div", "page-head"):
        text("h1", content)
        if lead:
            text("p", lead, "lead")


def card(title: str, classes: str = "") -> Element:
    """A section with its own heading; use it as a context manager to add content."""
    section = box("section", f"card {classes}")
    with section:
        title_element = text("h2", title)
    section.props["aria-labelledby"] = title_element.html_id
    return section


def link(content: str, path: str, classes: str = "", /, **attributes: str | int) -> TextElement:
    """A link to another page of the dashboard."""
    return text("a", content, classes, href=path, **attributes)


def picture(path: str) -> Element:
    """A 24 px line drawing hidden from screen readers; `path` is SVG path data."""
    drawing = box("svg", "picture", viewBox="0 0 24 24", width=20, height=20, aria_hidden="true")
    with drawing:
        box("path", d=path)
    return drawing


def _attributed(element: Element, attributes: dict[str, str | int]) -> Element:
    for name, value in attributes.items():
        element.props[name.rstrip("_").replace("_", "-")] = value
    return element
