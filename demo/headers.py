"""Headers that tell browsers how far to trust what the demo sends."""

from __future__ import annotations

from aiohttp import web

from .assets import is_asset
from .settings import SETTINGS

__all__ = ["add_security_headers"]

# No inline scripts or styles, nothing from elsewhere, no plug-ins, no frames.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers to every response, error pages and streams included."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    if request.app[SETTINGS].https and request.app[SETTINGS].certificates is None:  # never for this machine's name
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if not is_asset(request):
        # Pages are about one visitor: after signing out, the Back button should not bring them back.
        headers.setdefault("Cache-Control", "no-store")
