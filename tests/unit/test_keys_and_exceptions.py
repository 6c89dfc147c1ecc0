"""Typed keys, and what is raised."""

from __future__ import annotations

import pickle

import pytest

import aiohttp_spry_session
from aiohttp_spry_session import (
    AdapterError,
    ConflictError,
    HeadersSentError,
    SessionEndedError,
    SessionError,
    SessionEvent,
    SessionKey,
    SessionNotLoadedError,
    SessionTooLargeError,
    SessionValueError,
    TooManySessionsError,
)
from aiohttp_spry_session.keys import key_name


def test_session_key():
    """It knows its name, its type and its default, of which every read gets a copy."""
    key = SessionKey("cart", list[str], default=["free gift"])
    assert (key.name, key.type) == ("cart", list[str])
    key.default.append("stone")
    assert key.default == ["free gift"]
    assert repr(key) == "SessionKey('cart', list[str])"
    assert SessionKey("n", int).default is None
    assert SessionKey("n", str | None).type == str | None


def test_session_key_as_an_annotation():
    """With one type or two, evaluated as well; an alias makes keys."""
    assert isinstance(SessionKey[int]("n", int, default=0), SessionKey)
    assert SessionKey[int, int | None].__args__ == (int, int | None)
    with pytest.raises(AttributeError):
        SessionKey("n", int).other = 1


@pytest.mark.parametrize("name", ["", "a", "\xe9\U0001f600", "a\0b", "x" * 1000])
def test_any_text_is_a_key(name):
    """No two different keys are ever one (CVE-2026-25480), so nothing is normalised."""
    assert key_name(name) == name
    assert key_name(SessionKey(name, int)) == name


@pytest.mark.parametrize(
    ("key", "told"),
    [("\ud800", "valid Unicode"), (None, "not NoneType"), (1, "not int"), (b"a", "not bytes"), (("a",), "not tuple")],
)
def test_what_is_no_key(key, told):
    """The message says what it was."""
    with pytest.raises(SessionValueError, match=told) as caught:
        key_name(key)
    assert caught.value.key is None


def test_exceptions_have_one_root():
    """The tree is that of the design."""
    parents = {
        SessionValueError: (SessionError, ValueError),
        SessionTooLargeError: (SessionError,),
        SessionNotLoadedError: (SessionError,),
        HeadersSentError: (SessionError,),
        SessionEndedError: (SessionError,),
        TooManySessionsError: (SessionError,),
        ConflictError: (SessionError,),
        AdapterError: (SessionError,),
    }
    for kind, bases in parents.items():
        assert kind.__bases__ == bases
    public = {value for value in vars(aiohttp_spry_session).values() if isinstance(value, type)}
    assert {kind for kind in public if issubclass(kind, Exception)} == {*parents, SessionError}


def test_attributes_of_exceptions():
    """What a program may want to know stands in attributes, what a person needs in the message."""
    error = SessionTooLargeError(70, 60, key="cart")
    assert (error.size, error.limit, error.key) == (70, 60, "cart")
    assert str(error).startswith("with 'cart' the session would take 70 bytes, 60 are allowed: store less, or raise")
    assert str(SessionTooLargeError(70, 60)).startswith("the session would take 70 bytes")
    assert SessionTooLargeError(70, 60).key is None
    assert SessionValueError("told so", key="n").key == "n"
    assert SessionValueError("told so").key is None
    assert str(SessionValueError("told so")) == "told so"
    assert SessionEndedError("expired").reason == "expired"
    assert "(expired)" in str(SessionEndedError("expired"))
    assert AdapterError("load", "told so").operation == "load"
    assert str(AdapterError("load", "told so")) == "session store: load: told so"


def test_events_are_values():
    """Two equal events are equal, none can be changed, and one can be sent elsewhere."""
    event = SessionEvent("created", "00" * 32, "user", "started")
    assert event == SessionEvent("created", "00" * 32, "user", "started")
    assert SessionEvent("created", "x") == SessionEvent("created", "x", None, None)
    with pytest.raises(AttributeError):
        event.handle = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(event)) == event
