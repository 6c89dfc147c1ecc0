"""Identifiers, generators and handles."""

from __future__ import annotations

from hashlib import sha256

import pytest

from aiohttp_spry_session import SessionError, SessionManager, generate_identifier
from aiohttp_spry_session.identifiers import IdentifierSource, handle_of


def test_generate_identifier():
    """43 characters of base64url, which carry 256 bits, none of them twice."""
    made = {generate_identifier() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(identifier) for identifier in made} == {43}
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert set("".join(made)) == alphabet


def test_generate_identifier_takes_its_bits_from_secrets(monkeypatch):
    """The source of randomness is the operating system's, through secrets, 32 bytes of it."""
    asked: list[int] = []
    monkeypatch.setattr("secrets.token_urlsafe", lambda count: asked.append(count) or "made")
    assert generate_identifier() == "made"
    assert asked == [32]


def test_handle():
    """The handle is the SHA-256 of the identifier; even what is none has one."""
    assert handle_of("abc") == sha256(b"abc").hexdigest()
    assert handle_of("\xe9") == sha256("\xe9".encode()).hexdigest()
    assert len(handle_of("\udcff\ud800")) == 64


async def asynchronous() -> str:
    """An identifier that took its time."""
    return "later"


@pytest.mark.parametrize(("generator", "made"), [(lambda: "now", "now"), (asynchronous, "later")])
async def test_generators(generator, made):
    """A generator may return an identifier or an awaitable of one."""
    source = IdentifierSource(generator, max_length=10)
    assert not source.synchronous
    assert await source.new() == made
    assert source.synchronous is (made == "now")


def test_known_generator_needs_no_trial():
    """Ours is known to be synchronous."""
    source = IdentifierSource(generate_identifier, max_length=43)
    assert source.synchronous
    assert len(source.new_now()) == 43


GARBAGE = [None, 7, b"bytes", "", " ", "a b", "a;b", 'a"', "\xe9", "a\n", "x" * 11, "\ud800", ["a"], ...]


@pytest.mark.parametrize("made", GARBAGE)
async def test_generator_that_returns_garbage(made):
    """What no cookie can hold is refused, without being repeated in the message."""
    for use in (
        IdentifierSource(lambda: made, max_length=10).new,
        lambda: now(IdentifierSource(lambda: made, max_length=10)),
    ):
        with pytest.raises(SessionError, match="identifier_generator must return a non-empty str") as caught:
            await use()
        assert not (isinstance(made, str) and len(made) > 3 and made in str(caught.value))


async def now(source: IdentifierSource) -> str:
    return source.new_now()


@pytest.mark.parametrize("generator", [None, "text", 7])
def test_generator_that_cannot_be_called(generator):
    """It has to be a callable."""
    if generator is None:
        generator = object()
    with pytest.raises(ValueError, match="identifier_generator must be a callable"):
        SessionManager(identifier_generator=generator)
