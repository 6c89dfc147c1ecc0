"""What errors say, word for word: what was wrong, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiohttp_spry_session import (
    AdapterError,
    JSONCodec,
    SessionEndedError,
    SessionKey,
    SessionManager,
    SessionTooLargeError,
    adapter_from_url,
)
from aiohttp_spry_session.codec import read_codec, unpack
from aiohttp_spry_session.identifiers import IdentifierSource
from aiohttp_spry_session.keys import key_name


def nested(depth: int) -> list[object]:
    """Lists in lists."""
    return [] if depth == 1 else [nested(depth - 1)]


def other_url(scheme: str) -> str:
    """What is said of a URL that names no store."""
    return (
        "the session store's URL must be memory://, sqlite:///path, redis://..., rediss://..., valkey://..., "
        "valkeys://..., unix://..., postgresql://... or postgres://...; "
        f"this one has the scheme '{scheme}'"
    )


NAME = "letters, digits and !#$%&'*+-.^_`|~"

REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "a URL with half an address": (
        lambda: adapter_from_url("redis://user:secret@[::1/0"),
        "the session store's URL is malformed",
    ),
    "a URL of another kind": (lambda: adapter_from_url("mysql://user:secret@host/db"), other_url("mysql")),
    "a file's URL without a path": (lambda: adapter_from_url("sqlite:///"), other_url("sqlite")),
    "the memory of another host": (lambda: adapter_from_url("memory://host"), other_url("memory")),
    "a codec that cannot decode": (
        lambda: read_codec(object()),  # type: ignore[arg-type]
        "codec must have the methods encode and decode; a object has not",
    ),
    "a number without a JSON form": (lambda: JSONCodec().encode(float("inf")), "inf has no JSON form"),
    "an integer that is too large": (
        lambda: JSONCodec().encode(2**64),
        "an integer past 64 bits has no exact JSON form everywhere",
    ),
    "a value that is nested too deep": (lambda: JSONCodec().encode(nested(65)), "nested more than 64 deep"),
    "a mapping key that is no text": (lambda: JSONCodec().encode({7: 1}), "a mapping key must be a str, not int"),
    "a payload that nobody packed": (lambda: unpack(b"\x01garbage"), "not a session's payload, or damaged"),
    "a key that is half a character": (
        lambda: key_name("\ud800"),
        r"a session key must be valid Unicode, not '\ud800'",
    ),
    "a key that is no text": (lambda: key_name(7), "a session key must be a str or a SessionKey, not int"),  # type: ignore[arg-type]
    "a typed key that is no text": (
        lambda: SessionKey(b"n", int),  # type: ignore[arg-type]
        "a session key must be a str or a SessionKey, not bytes",
    ),
    "max_bytes": (
        lambda: SessionManager(max_bytes=0),
        "max_bytes must be a whole number above 0, or None for no limit, not 0",
    ),
    "a switch": (lambda: SessionManager(lazy=1), "lazy must be True or False, not 1"),  # type: ignore[arg-type]
    "a lifetime": (
        lambda: SessionManager(timeout=0),
        (
            "timeout must be a timedelta or a number of seconds above 0 and up to 400 days (34560000), "
            "or None for no limit, not 0"
        ),
    ),
    "a generator": (
        lambda: SessionManager(identifier_generator=7),  # type: ignore[arg-type]
        "identifier_generator must be a callable without arguments",
    ),
    "an identifier": (
        lambda: IdentifierSource(lambda: "a b", max_length=9).new_now(),
        (
            "identifier_generator must return a non-empty str of cookie characters (RFC 6265: visible ASCII "
            "without quotes, comma, semicolon and backslash), at most 9 of them"
        ),
    ),
    "a name": (lambda: SessionManager(name="a b"), f"name must be a cookie name (RFC 6265: {NAME}), not 'a b'"),
    "a long name": (
        lambda: SessionManager(name="x" * 2049),
        "name must leave room for an identifier: name and value together may take 4096 bytes",
    ),
    "a domain": (
        lambda: SessionManager(domain=".org"),
        "domain must be a host name such as 'example.org' (ASCII, no leading dot), not '.org'",
    ),
    "a path": (
        lambda: SessionManager(path="x"),
        "path must start with '/' and be printable ASCII without ';', not 'x'",
    ),
    "same_site": (
        lambda: SessionManager(same_site="lax"),  # type: ignore[arg-type]
        "same_site must be 'Strict', 'Lax', 'None' or None, not 'lax'",
    ),
    "the __Host- rule": (
        lambda: SessionManager(name="__Host-a"),
        "a cookie named '__Host-a' needs secure=True, path='/' and no domain (the __Host- rule)",
    ),
    "the __Secure- rule": (
        lambda: SessionManager(name="__Secure-a"),
        "a cookie named '__Secure-a' needs secure=True (the __Secure- rule)",
    ),
    "same_site='None'": (
        lambda: SessionManager(same_site="None"),
        "same_site='None' needs secure=True: browsers drop the cookie otherwise",
    ),
    "partitioned": (
        lambda: SessionManager(partitioned=True),
        "partitioned=True needs secure=True: browsers drop the cookie otherwise",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_is_told_why(case):
    """The message says what was wrong, and what is allowed."""
    refused, told = REFUSALS[case]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whichever class: the message is the matter here
        refused()
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            lambda: SessionTooLargeError(70, 60),
            "the session would take 70 bytes, 60 are allowed: store less, or raise SessionManager(max_bytes=...)",
        ),
        (
            lambda: SessionTooLargeError(70, 60, key="cart"),
            (
                "with 'cart' the session would take 70 bytes, 60 are allowed: store less, "
                "or raise SessionManager(max_bytes=...)"
            ),
        ),
        (
            lambda: SessionEndedError("expired"),
            (
                "the session ended while this request used it (expired): nothing was stored; "
                "the client has to come back with the cookie that it holds by then"
            ),
        ),
        (lambda: AdapterError("load", "told so"), "session store: load: told so"),
    ],
)
def test_what_the_exceptions_say(error, told):
    """What went wrong, and what to do about it."""
    assert str(error()) == told
