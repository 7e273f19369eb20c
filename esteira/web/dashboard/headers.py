"""The headers of every page of the dashboard, and what its Content-Security-Policy allows and why."""

from __future__ import annotations

GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a form would say that it comes from nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
CLOSED = ("default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'")
PLAIN_POLICY = "; ".join((*CLOSED, "style-src 'self'", "img-src 'self'"))


def page_policy(nonce: str) -> str:
    """The policy of a page that NiceGUI makes.

    Scripts and styles run by the page's nonce, or because one that has it loads them: nothing inline without it,
    no inline handler, no style attribute in markup, nothing from elsewhere. Two things are wider than on a plain page:

    - `'unsafe-eval'`: Vue compiles the templates of NiceGUI's components in the browser, and NiceGUI makes functions of
      properties and handlers that the server sends as text.
    - `data:` and `blob:` for pictures: Quasar and ECharts paint with them.
    """
    return "; ".join(
        (
            *CLOSED,
            f"script-src 'nonce-{nonce}' 'strict-dynamic' 'unsafe-eval'",
            f"style-src 'self' 'nonce-{nonce}'",
            "font-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self'",
            "connect-src 'self'",
        )
    )
