"""Requests without a server, of which thousands are made."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["bare_request"]


class _Writer:
    """Where a response goes to: each request has one of its own, by which its sessions are found."""


@cache
def _template() -> Any:
    return make_mocked_request("GET", "/")  # so many mocks that it takes longer than all that a request does


def bare_request(headers: dict[str, str]) -> web.Request:
    """Return a request with these headers, whose response goes nowhere."""
    template = _template()
    fields = CIMultiDict(headers)
    raw = tuple((name.encode(), value.encode()) for name, value in fields.items())
    message = RawRequestMessage(
        "GET", "/", template.version, CIMultiDictProxy(fields), raw, False, None, False, False, template.rel_url
    )
    writer: Any = _Writer()
    return web.Request(message, template.content, template.protocol, writer, template.task, asyncio.get_running_loop())
