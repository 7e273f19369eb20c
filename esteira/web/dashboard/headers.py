"""Security headers of the dashboard's pages, and their Content-Security-Policy."""

from __future__ import annotations

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send `Origin: null` with forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
BASE_POLICY = ("default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'")
PLAIN_POLICY = "; ".join((*BASE_POLICY, "style-src 'self'", "img-src 'self'"))


def page_policy(nonce: str) -> str:
    """The Content-Security-Policy of a page made by NiceGUI.

    Scripts and styles need the page's nonce, or are loaded by a script that has it. Inline handlers, style attributes
    in markup and other hosts are not allowed. Two things are wider than on a plain page:

    - `'unsafe-eval'`: Vue compiles the templates of NiceGUI's components in the browser, and NiceGUI compiles
      properties and handlers that the server sends as text.
    - `data:` and `blob:` for pictures: Quasar and ECharts draw with them.
    """
    return "; ".join(
        (
            *BASE_POLICY,
            f"script-src 'nonce-{nonce}' 'strict-dynamic' 'unsafe-eval'",
            f"style-src 'self' 'nonce-{nonce}'",
            "font-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self'",
            "connect-src 'self'",
        )
    )
