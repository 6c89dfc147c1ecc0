"""Typed session keys."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Generic, TypeVar

from .exceptions import SessionValueError
from .facts import FACTS_KEY

__all__ = ["SessionKey", "key_name"]

T = TypeVar("T")


class SessionKey(Generic[T]):
    """A session key that carries the type of its value and, optionally, what a missing one reads as.

    ``CART = SessionKey("cart", list[Item], default=[])`` makes ``await session.get(CART)`` a ``list[Item]``, for
    the type checker and, checked by msgspec, at run time. Without a default a missing key reads as ``None``. The
    default is copied at each read.
    """

    __slots__ = ("_default", "name", "type")

    def __init__(self, name: str, type: type[T], *, default: T | None = None) -> None:
        self.name = key_name(name)
        self.type: Any = type
        self._default = default

    @property
    def default(self) -> T | None:
        """A new copy of what a missing key reads as."""
        return deepcopy(self._default)

    def __repr__(self) -> str:
        return f"SessionKey({self.name!r}, {self.type!r})"


def key_name(key: str | SessionKey[Any]) -> str:
    """Return the name under which a key's value is stored; ``SessionValueError`` for what cannot be a name."""
    if isinstance(key, str):
        if key == FACTS_KEY:
            raise SessionValueError(f"a session key must not be {key!r}: facts of the session are kept there")
        if not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise SessionValueError(f"a session key must be valid Unicode, not {key!r}") from error
        return key
    if isinstance(key, SessionKey):
        return key.name
    raise SessionValueError(f"a session key must be a str or a SessionKey, not {type(key).__name__}")
