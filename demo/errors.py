"""Error pages. They use no session: it may be the sessions that failed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import aiohttp_jinja2
from aiohttp import web

from .negotiation import json_response, wants_json

__all__ = ["error_pages"]

logger = logging.getLogger(__name__)

TITLES = {
    400: "That did not make sense",
    401: "Sign in first",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not this way",
    409: "Your session has ended",
    413: "Too much",
    429: "Too many attempts",
    500: "Something broke",
    502: "No race today",
    503: "Closed for a moment",
}
DETAILS = {
    404: "There is no page at this address.",
    405: "This address does not take that kind of request.",
    409: "It was ended or replaced while this request used it. Nothing was changed. Please try again.",
    413: "The request was larger than this shop accepts.",
    500: "The error is ours, and was logged.",
    503: "The session store does not answer. Nobody was signed out: please try again in a moment.",
}
RETRY_AFTER_SECONDS = "5"


@web.middleware
async def error_pages(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn errors into pages, or into JSON for programs."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_response(request, error)
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return error_response(request, web.HTTPInternalServerError())


def error_response(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return the page of an error."""
    title = TITLES.get(error.status, error.reason)
    own_text = error.text if error.text and error.text != f"{error.status}: {error.reason}" else title
    detail = DETAILS.get(error.status, own_text)
    if wants_json(request):
        response = json_response({"error": detail}, status=error.status)
    else:
        context = {"title": title, "detail": detail, "status": error.status}
        response = aiohttp_jinja2.render_template("error.html", request, context, status=error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    if error.status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response
