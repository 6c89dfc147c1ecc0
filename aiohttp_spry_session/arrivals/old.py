"""What aiohttp-session keeps of a session, and how long it lets one live.

Its record is JSON, ``{"created": 1700000000, "session": {...}}``; that of a session without values is ``{}``. With
``max_age`` a session is over when ``created`` is longer ago, whatever else its storage does: read in
``aiohttp_session.Session.__init__`` of release 2.12.1.
"""

from __future__ import annotations

import abc
import json
from datetime import timedelta
from typing import Any

from msgspec import Struct

from ..cookies import CookieWriter
from ..options import read_lifetime

__all__ = ["OldSession", "Source", "read_old"]


class OldSession(Struct, frozen=True):
    """A session that the old storage vouches for."""

    value: str
    """The cookie's, in its one form: what is not the same is another session's."""
    created_at: int
    """In Unix seconds. aiohttp-session moves it with each value that is set."""
    values: dict[str, Any]
    ends_at: float | None
    """No cookie leads to it any more then, in Unix seconds; ``None``: that may never be."""

    def __repr__(self) -> str:
        return f"<OldSession of {len(self.values)} values>"  # (promise 10) never the cookie


class Source(abc.ABC):
    """A storage of aiohttp-session.

    :param cookie_name: as the storage was given it.
    :param max_age: likewise; ``None``: for ever.
    :param owner: the key of the value that names the user.
    """

    removes: bool
    """Whether what has arrived is not there any more."""

    def __init__(self, *, cookie_name: str, max_age: timedelta | float | None, owner: str | None) -> None:
        try:
            CookieWriter(
                name=cookie_name,
                domain=None,
                path=None,
                secure=True,
                http_only=True,
                same_site=None,
                partitioned=False,
            )
        except ValueError as error:
            raise ValueError(f"cookie_{error}") from None  # its message begins with "name"
        if owner is not None and (not isinstance(owner, str) or not owner):
            raise ValueError(
                "owner must be the key under which the old sessions hold who is signed in, such as 'user_id', "
                f"or None, not {owner!r}"
            )
        self.cookie_name = cookie_name
        self.max_age = read_lifetime("max_age", max_age)
        self.owner = owner

    @abc.abstractmethod
    async def find(self, value: str, now: float) -> OldSession | None:
        """Return the session of a cookie's value, if the storage still vouches for it; any failure comes out."""

    @abc.abstractmethod
    async def remove(self, value: str) -> None:
        """Remove the session that has arrived, where that is possible; any failure comes out."""


def read_old(
    value: str, data: str | bytes, *, max_age: float | None, now: float, ends_at: float | None
) -> OldSession | None:
    """Return the session of a record; ``None`` where it is over, has no values, or cannot be read."""
    try:
        record: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    created, values = record.get("created"), record.get("session")
    if type(created) is not int or not isinstance(values, dict) or not values:
        return None
    if max_age is not None and int(now) - created > max_age:
        return None
    return OldSession(value, min(created, int(now)), values, ends_at)
