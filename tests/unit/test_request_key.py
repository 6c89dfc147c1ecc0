"""The key of a request's session."""

from __future__ import annotations

import threading

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aiohttp_spry_session import SESSION
from aiohttp_spry_session.request_key import NamedKey


def test_typed_and_plain_key_are_one_entry() -> None:
    """Whichever it was stored under, and whichever it is asked by."""
    request = make_mocked_request("GET", "/")
    request[NamedKey("session")] = "one"  # type: ignore[assignment]
    assert request[SESSION] == request["session"] == "one"
    assert "session" in request
    assert SESSION in request
    assert list(request) == [SESSION]
    del request["session"]
    assert SESSION not in request


@pytest.mark.parametrize(("other", "same"), [("session", True), (NamedKey("session"), True), ("x", False), (7, False)])
def test_equality(other: object, same: bool) -> None:
    """A key is equal to its name and to its like, and has their hash."""
    assert (other == SESSION) is same
    assert (other == SESSION) is same
    if same:
        assert hash(SESSION) == hash(other)


def test_foreign_key_is_another() -> None:
    """One of aiohttp's own of the same name does not lead to the session."""
    assert web.RequestKey("session", object) != SESSION


def test_order() -> None:
    """Keys and names can be sorted together, as aiohttp's debug pages do."""
    assert sorted([NamedKey("c"), "b", NamedKey("a")]) == ["a", "b", "c"]
    assert NamedKey("a") < "b"
    assert not NamedKey("b") < "a"


def test_made_in_a_thread() -> None:
    """It asks the stack for nothing."""
    made: list[NamedKey] = []
    thread = threading.Thread(target=lambda: made.append(NamedKey("mine")))
    thread.start()
    thread.join()
    assert made == ["mine"]


def test_repr() -> None:
    """It says what it is."""
    assert repr(SESSION) == "<RequestKey(session, type=aiohttp_spry_session.session.Session)>"


@pytest.mark.parametrize("name", ["", None, 7, b"session"])
def test_what_is_no_key(name: object) -> None:
    """A name is text, and not empty."""
    with pytest.raises(ValueError, match="key must be a non-empty str"):
        NamedKey(name)  # type: ignore[arg-type]
