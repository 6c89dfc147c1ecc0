"""Typed session keys."""

from __future__ import annotations

from copy import deepcopy
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .exceptions import SessionValueError
from .facts import FACTS_KEY

__all__ = ["SessionKey", "TypeForm", "TypedKey", "key_name"]

T = TypeVar("T")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)

if TYPE_CHECKING:
    from typing_extensions import TypeForm
    from typing_extensions import TypeVar as TypeVarWithDefault

    Q_co = TypeVarWithDefault("Q_co", covariant=True, default=T)
else:
    TypeForm = type
    Q_co = TypeVar("Q_co", covariant=True)


class TypedKey(Generic[T, R_co, V_co]):
    """What type checkers know of a key: it takes a ``T``, reads as an ``R_co``, and holds a ``V_co``.

    ``T`` and ``V_co`` are the same type. A type that is returned has to be covariant: what is expected of
    ``await session.get(KEY)``, an ``object`` by ``print``, a ``float`` where an ``int`` is read, comes down to the key.
    """

    __slots__ = ()


class SessionKey(TypedKey[T, Q_co, T]):
    """A session key that carries the type of its value and, optionally, what a missing one reads as.

    ``CART = SessionKey("cart", list[Item], default=[])`` makes ``await session.get(CART)`` a ``list[Item]``, for
    the type checker and, checked by msgspec, at run time. Without a default it is ``list[Item] | None``: a missing key
    reads as ``None``. The default is copied at each read. Any type that msgspec can read will do, ``str | None`` too.

    As an annotation a key with a default is a ``SessionKey[list[Item]]``, one without a
    ``SessionKey[list[Item], list[Item] | None]``.
    """

    __slots__ = ("_default", "name", "type")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    @overload
    def __init__(self: SessionKey[S, S | None], name: str, type: TypeForm[S]) -> None: ...
    @overload
    def __init__(self: SessionKey[S, S], name: str, type: TypeForm[S], *, default: S) -> None: ...

    def __init__(self, name: str, type: Any, *, default: Any = None) -> None:
        self.name = key_name(name)
        self.type: Any = type
        self._default = default

    @property
    def default(self) -> Q_co:
        """A new copy of what a missing key reads as."""
        default: Q_co = deepcopy(self._default)
        return default

    def __repr__(self) -> str:
        return f"SessionKey({self.name!r}, {self.type!r})"


def key_name(key: str | TypedKey[Any, Any, Any]) -> str:
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
