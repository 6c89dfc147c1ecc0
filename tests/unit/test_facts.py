"""Facts: what is known of a session beside its values, and their place in its payload."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from aiohttp_spry_session import JSONCodec, SessionTooLargeError, SessionValueError
from aiohttp_spry_session.codec import entry_size, has_facts, pack, unpack, unpack_session
from aiohttp_spry_session.facts import (
    FACTS_KEY,
    MAX_DEVICE_BYTES,
    NO_FACTS,
    Facts,
    authenticated_at,
    confirmed,
    decode_facts,
    encode_facts,
    read_facts,
    read_level,
    signed_in,
)
from aiohttp_spry_session.keys import key_name
from aiohttp_spry_session.options import MAX_LIFETIME_SECONDS
from aiohttp_spry_session.record import SessionRecord
from aiohttp_spry_session.request.view import View

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
lifetimes = st.just(UNSET) | st.none() | st.floats(0, MAX_LIFETIME_SECONDS, exclude_min=True)
times = st.none() | st.floats(0, 1e300)
all_facts = st.builds(
    Facts,
    expiration=lifetimes,
    max_lifetime=lifetimes,
    persistent=st.none() | st.booleans(),
    authenticated_at=times,
    level=st.none() | text.filter(bool),
    last_used_at=times,
    device=st.none() | st.dictionaries(text, text, max_size=3),
    binding=st.none() | st.binary(max_size=8),
)
keys = text.filter(FACTS_KEY.__ne__)
all_values = st.dictionaries(keys, st.binary(max_size=8), max_size=20)
DAY = 24 * 60 * 60
FULL = Facts(
    expiration=30.0 * DAY,
    max_lifetime=None,
    persistent=False,
    authenticated_at=5.0,
    level="mfa",
    last_used_at=7.5,
    device={"agent": "Firefox"},
    binding=b"\0\xff",
)


def stored(data: bytes, values: dict[str, bytes] | None = None) -> bytes:
    """A payload with such bytes in the place of facts."""
    body = msgspec.msgpack.encode({FACTS_KEY: data} | (values or {}))
    return b"\x01" + crc32(body).to_bytes(4, "big") + body


@given(all_values, all_facts)
def test_facts_come_back(values: dict[str, bytes], facts: Facts) -> None:
    """Law: a payload holds values and facts, and its length without them is that of the values alone."""
    payload = pack(values, facts)
    plain = pack(values)
    assert unpack_session(payload, 0.0) == (values, facts, len(plain))
    assert unpack(payload) == unpack(plain) == values
    assert pack(*unpack_session(payload, 0.0)[:2]) == payload
    assert has_facts(payload) == (facts != NO_FACTS) == (payload != plain)


def test_none_take_no_room() -> None:
    """A payload without facts is what version 1.0 wrote; single ones are small."""
    assert encode_facts(NO_FACTS) == encode_facts(Facts()) == b""
    assert pack({"n": b"1"}, Facts()) == pack({"n": b"1"}) == bytes.fromhex("012cf35f2f81a16ec40131")
    assert encode_facts(Facts(expiration=None)) == b' {"e":null}'
    assert entry_size(FACTS_KEY, encode_facts(Facts(authenticated_at=1.5, level="mfa"))) < 40
    assert unpack_session(pack({}), 0.0)[1] is NO_FACTS


def test_not_given_is_not_never() -> None:
    """Where nothing was said adapter and manager decide; ``None`` is a decision."""
    silent, never = (decode_facts(b" " + data, 0) for data in (b'{"p":true}', b'{"e":null,"m":null}'))
    assert (silent.expiration, silent.max_lifetime, silent.persistent) == (UNSET, UNSET, True)
    assert (never.expiration, never.max_lifetime, never.persistent) == (None, None, None)


CORRUPT = (
    *(b"", b"{}", b" ", b" x", b" []", b" null", b' {"l":"a"} x', b"\xff", b'\x00{"l":"a"}'),
    *(b' {"e":0}', b' {"e":-1}', b' {"e":34560000.5}', b' {"e":1e999}', b' {"e":true}', b' {"e":"1"}'),
    *(b' {"m":0}', b' {"m":34560001}', b' {"p":1}', b' {"a":NaN}', b' {"a":"now"}', b' {"u":1e999}'),
    *(b' {"l":""}', b' {"l":1}', b' {"l":"\xff"}', b' {"l":"\\ud800"}', b' {"d":[]}', b' {"d":{"a":1}}'),
    *(b' {"b":"*"}', b' {"v":0}', b' {"v":true}', b' {"v":1.5}', b' {"?":{}}', b' {"v":2,"?":{}}'),
    *(b' {"v":2,"\xff":1}', b' {"z":' + b"[" * 100_000, b' {"v":2,"z":' + b"[" * 100_000),
)


@pytest.mark.parametrize("data", CORRUPT, ids=range(len(CORRUPT)))
def test_corrupt_facts_are_a_corrupt_record(data: bytes) -> None:
    """What nobody wrote is a ``ValueError``, as among the values, though the checksum be right."""
    with pytest.raises(ValueError, match=r"."):
        unpack_session(stored(data, {"n": b"1"}), 0.0)


@given(st.binary(max_size=40).map(b" ".__add__) | st.binary(max_size=40).map(lambda data: b' {"v":2,' + data + b"}"))
def test_any_bytes(data: bytes) -> None:
    """Law: whatever stands there is refused by a ``ValueError``, or read, and can be written again."""
    try:
        facts = decode_facts(data, 0.0)
    except ValueError:
        return
    assert decode_facts(encode_facts(facts) or b" {}", 0.0) == facts


def test_fields_of_a_newer_version_stay() -> None:
    """Who does not know them writes them again, with the newer version, beside what it changed itself."""
    facts = decode_facts(b' {"l":"a","zone":{"x":[1, 2]},"v":3,"a":9}', 0.0)
    assert (facts.level, facts.version) == ("a", 3)
    again = encode_facts(confirmed(facts, 11.0, 0.0, level="b"))
    assert msgspec.json.decode(again) == {"l": "b", "zone": {"x": [1, 2]}, "v": 3, "a": 11.0}
    assert decode_facts(again, 0.0) == confirmed(facts, 11.0, 0.0, level="b")
    assert decode_facts(b' {"v":2,"l":"a"}', 0.0) == Facts(version=2, level="a")
    assert decode_facts(b' {"l":"a","zone":1}', 0.0) == Facts(level="a")


@given(st.recursive(st.none() | st.text() | st.floats(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_value_is_taken_for_facts(value: Any) -> None:
    """Law: what a handler stored under their name, with version 1.0, is nobody's facts: JSON begins with no space."""
    try:
        data = JSONCodec().encode(value)
    except (ValueError, TypeError):
        return
    with pytest.raises(ValueError, match="not a session's facts"):
        unpack_session(stored(data), 0.0)


def test_their_name_is_nobodys_key() -> None:
    """Neither a handler nor whoever packs values from elsewhere can write there."""
    with pytest.raises(SessionValueError, match="must not be"):
        key_name(FACTS_KEY)
    with pytest.raises(ValueError, match="must not be"):
        pack({FACTS_KEY: b' {"l":"admin"}'})
    assert key_name("facts") == "facts"


@pytest.mark.parametrize(
    ("facts", "owner", "expected"),
    [
        (NO_FACTS, None, None),
        (Facts(authenticated_at=7.0), None, None),
        (NO_FACTS, "ada", 5.0),
        (Facts(last_used_at=9.0), "ada", 5.0),
        (Facts(authenticated_at=7.0), "ada", 7.0),
    ],
)
def test_when_a_user_was_authenticated(facts: Facts, owner: str | None, expected: float | None) -> None:
    """When a fact says so, else at the creation; a visitor never."""
    assert authenticated_at(facts, owner, 5.0) == expected


def test_facts_hold_for_one_sign_in() -> None:
    """Those from before the creation are a former owner's, who left by version 1.0's ``bind``."""
    payload = pack({"n": b"1"}, FULL)
    assert unpack_session(payload, 5.0)[1] == FULL
    assert unpack_session(payload, 5.001) == ({"n": b"1"}, Facts(last_used_at=7.5), len(pack({"n": b"1"})))


def test_signing_in_and_confirming() -> None:
    """Both say when; a sign-in that tells nothing leaves the payload as it was, since the creation says it."""
    assert signed_in(NO_FACTS, 5.0) is NO_FACTS
    assert signed_in(Facts(), 5.0) == NO_FACTS
    assert signed_in(Facts(level="mfa"), 5.0) == Facts(level="mfa", authenticated_at=5.0)
    assert confirmed(FULL, 8.0, 5.0) == msgspec.structs.replace(FULL, authenticated_at=8.0)
    assert confirmed(FULL, 8.0, 5.0, level="key") == msgspec.structs.replace(FULL, authenticated_at=8.0, level="key")
    # On a machine whose clock is slow.
    assert confirmed(NO_FACTS, 4.0, 5.0) == Facts(authenticated_at=5.0)


def test_what_a_sign_in_may_tell() -> None:
    """Everything is read into what is kept: seconds, plain text, a copy."""
    device = {"agent": "Firefox"}
    facts = read_facts(
        level="mfa", device=MappingProxyType(device), expiration=timedelta(days=30), max_lifetime=5, persistent=True
    )
    device["agent"] = "other"
    assert facts == Facts(
        level="mfa", device={"agent": "Firefox"}, expiration=30.0 * DAY, max_lifetime=5.0, persistent=True
    )
    assert read_facts() == read_facts(device={}) == NO_FACTS
    assert read_facts(expiration=None, max_lifetime=None) == Facts(expiration=None, max_lifetime=None)
    assert type(read_level(type("Text", (str,), {})("a"))) is str


WRONG = (
    ({"level": ""}, SessionValueError, "a level must be a non-empty str, such as 'password', or None, not ''"),
    ({"level": 2}, SessionValueError, "a level must be a non-empty str, such as 'password', or None, not 2"),
    ({"level": "\ud800"}, SessionValueError, "a level must be valid Unicode"),
    ({"level": "\u00fc" * 513}, SessionValueError, "a level may take 1024 bytes, not 1026"),
    ({"device": "Firefox"}, SessionValueError, "a device must be a mapping of str to str, or None, not str"),
    ({"device": {"a": 1}}, SessionValueError, "a device must be a mapping of str to str; a int is in it"),
    ({"device": {b"a": "1"}}, SessionValueError, "a device must be a mapping of str to str; a bytes is in it"),
    ({"device": {"a": "\ud800"}}, SessionValueError, "the text of a device must be valid Unicode"),
    (
        {"device": {"a": "x" * 1017}},
        SessionValueError,
        "a device may take 1024 bytes as JSON, not 1025: cut what comes from the client, such as its User-Agent",
    ),
    ({"expiration": 0}, ValueError, "expiration must be a timedelta or a number of seconds above 0"),
    ({"expiration": 401 * DAY}, ValueError, "expiration must be a timedelta or a number of seconds above 0"),
    ({"max_lifetime": -1}, ValueError, "max_lifetime must be a timedelta or a number of seconds above 0"),
    ({"persistent": None}, ValueError, "persistent must be True or False, not None"),
)


@pytest.mark.parametrize(("wrong", "kind", "told"), WRONG, ids=range(len(WRONG)))
def test_what_it_may_not(wrong: dict[str, Any], kind: type[ValueError], told: str) -> None:
    """Anything else is an error that says what is allowed."""
    with pytest.raises(kind) as caught:
        read_facts(**wrong)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(told)


def test_the_largest_that_are_allowed() -> None:
    """Just as many bytes as the messages say."""
    assert read_facts(device={"a": "x" * 1016}).device == {"a": "x" * 1016}
    assert read_level("\u00fc" * 512) == "\u00fc" * 512
    assert MAX_DEVICE_BYTES == 1024


def record(values: dict[str, bytes], facts: Facts = NO_FACTS) -> SessionRecord:
    return SessionRecord(pack(values, facts), 1, 5.0, None)


def test_a_view_keeps_facts() -> None:
    """They go with the values through every commit, whatever is set or removed meanwhile."""
    view = View(None)
    assert view.facts is NO_FACTS
    view.refreshed(record({"a": b"1"}, FULL))
    assert (view.values, view.facts) == ({"a": b"1"}, FULL)
    view.put("b", b"2")
    sent, landed = view.sent(), record(dict(view.values), view.facts)
    assert view.packed(view.values, view.facts) == landed.payload
    view.put("c", b"3")
    view.landed(landed, view.values, view.facts, sent)
    assert (view.values, view.changes, view.facts) == ({"a": b"1", "b": b"2", "c": b"3"}, {"c": b"3"}, FULL)
    view.discard(landed)
    assert (view.values, view.facts) == ({"a": b"1", "b": b"2"}, FULL)
    view.clear()
    assert view.facts is NO_FACTS


def test_a_view_takes_over_what_landed() -> None:
    """The facts of the record, with which it was stored, or without."""
    view = View(None)
    view.refreshed(record({"a": b"1"}))
    for facts in (FULL, NO_FACTS):
        view.landed(record({"a": b"1"}, facts), view.values, facts, view.sent())
        assert view.facts == facts
    view.put("a", b"2")
    view.facts = FULL
    view.discard(record({"a": b"1"}, Facts(level="x")))
    assert (view.values, view.facts) == ({"a": b"1"}, Facts(level="x"))


@given(all_values, all_facts, keys, st.binary(max_size=30), st.integers(1, 120))
def test_facts_do_not_count(values: dict[str, bytes], facts: Facts, key: str, value: bytes, limit: int) -> None:
    """Law: with facts a view refuses and packs just what it would without."""

    def outcome(facts: Facts) -> object:
        view = View(limit)
        view.refreshed(record(values, facts))
        try:
            view.put(key, value)
            view.packed(dict(view.values), facts)
            view.landed(record(dict(view.values), facts), view.values, facts, view.sent())
            view.packed(view.values | {"more": b"1234"}, facts)
        except SessionTooLargeError as error:
            return error.size, error.key, view.values
        return view.values

    assert outcome(facts) == outcome(NO_FACTS)
