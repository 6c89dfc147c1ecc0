"""What a client sends: a form or a JSON object, read into a type and checked."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

__all__ = ["fields", "read"]

T = TypeVar("T", bound=msgspec.Struct)


async def read(request: web.Request, form: type[T]) -> T:
    """Return the request's body as the form; 400 for what does not fit."""
    try:
        if request.content_type == "application/json":
            return msgspec.json.decode(await request.read(), type=form)
        return msgspec.convert(await fields(request), form, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text="The form was not filled in as it should be.") from error


async def fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a posted form; files are left out, as no form here asks for one."""
    try:
        posted = await request.post()
    except (ValueError, LookupError) as error:  # a broken body, or a character set that nobody knows
        raise web.HTTPBadRequest(text="The form could not be read.") from error
    return {name: value for name, value in posted.items() if isinstance(value, str)}
