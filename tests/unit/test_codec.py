"""Values to bytes and back, and the payload of a session."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_spry_session import JSONCodec
from aiohttp_spry_session.codec import entry_size, pack, packed_size, read_codec, unpack
from aiohttp_spry_session.facts import FACTS_KEY

text = st.text(st.characters(exclude_categories=["Cs"]))
exact = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    """Equality that tells 1 from 1.0 and True."""
    if isinstance(a, list):
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(map(same, a.values(), b.values()))
    return type(a) is type(b) and repr(a) == repr(b)


@given(exact)
def test_what_is_accepted_comes_back_exactly(value):
    """Every value of JSON's types that is encoded at all is decoded to the same, as a new object."""
    codec = JSONCodec()
    again = codec.decode(codec.encode(value))
    assert same(value, again)
    if isinstance(value, list | dict):
        assert again is not value


junk = st.recursive(
    st.one_of(
        st.floats(),
        st.integers(),
        st.text(),
        st.binary(),
        st.dates(),
        st.uuids(),
        st.decimals(),
        st.complex_numbers(),
        st.sets(st.integers() | st.text()),
    ),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.uuids() | st.binary(), inner),
    max_leaves=10,
)


@given(junk)
def test_anything_else_is_refused_or_has_one_json_form(value):
    """What is accepted can be decoded, and encodes the same again; whatever is refused raises what codecs may raise."""
    codec = JSONCodec()
    try:
        data = codec.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return
    assert codec.encode(codec.decode(data)) == data


@pytest.mark.parametrize("depth", [63, 64])
def test_depth_that_is_allowed(depth):
    """Containers may be nested 64 deep."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    assert JSONCodec().decode(JSONCodec().encode(value)) == value


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_depth_that_is_not(wrap):
    """One more is refused, whatever the containers."""
    value: Any = 1
    for _ in range(65):
        value = wrap(value)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        JSONCodec().encode(value)


@pytest.mark.parametrize("number", [-(2**63), 2**64 - 1])
def test_integers_at_the_limit(number):
    """64 bits, signed or not, are exact."""
    assert JSONCodec().decode(JSONCodec().encode([number])) == [number]


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64])
def test_integers_past_the_limit(number):
    """Beyond, other readers of JSON would round."""
    for value in (number, [number], {"a": number}):
        with pytest.raises(ValueError, match="past 64 bits"):
            JSONCodec().encode(value)


@pytest.mark.parametrize(
    "key",
    [
        b"a",
        datetime(2026, 1, 2, tzinfo=UTC),
        date(2026, 1, 2),
        time(3),
        timedelta(1),
        UUID(int=1),
        Decimal(1),
        1,
        1.5,
        True,
        None,
    ],
    ids=repr,
)
def test_mapping_keys_that_are_no_text(key):
    """None is made one that another key may be, too, at any depth (CVE-2026-25480)."""
    for value in ({key: 1}, [{"a": {key: 1}}]):
        with pytest.raises(TypeError, match=f"^a mapping key must be a str, not {type(key).__name__}$"):
            JSONCodec().encode(value)


def test_type_expressions_that_cannot_be_cached():
    """A type that is not hashable works like any other."""
    kind = Annotated[int, {"of": "the application"}]
    with pytest.raises(TypeError):
        hash(kind)
    assert JSONCodec().decode(b"3", kind) == 3
    assert JSONCodec().decode(b"3", int) == 3
    with pytest.raises(msgspec.ValidationError):
        JSONCodec().decode(b'"a"', kind)


@given(st.dictionaries(text.filter(FACTS_KEY.__ne__), st.binary()))
def test_payload_comes_back(values):
    """unpack is pack's inverse."""
    assert unpack(pack(values)) == values


@given(st.binary() | st.binary().map(lambda body: b"\x01" + crc32(body).to_bytes(4, "big") + body))
def test_any_other_payload_is_a_value_error(payload):
    """Whatever bytes are in the store, unpack returns a map of encoded values or raises ValueError."""
    try:
        values = unpack(payload)
    except ValueError:
        return
    assert all(isinstance(key, str) and isinstance(value, bytes) for key, value in values.items())


@given(st.dictionaries(st.text("abc"), st.binary(max_size=4), min_size=1), st.data())
def test_damage_is_noticed(values, data):
    """One flipped bit anywhere, or a missing end, is never taken for a session."""
    payload = pack(values)
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    damaged = bytearray(payload)
    damaged[bit // 8] ^= 1 << bit % 8
    for broken in (bytes(damaged), payload[: bit // 8]):
        with pytest.raises(ValueError, match="damaged"):
            unpack(broken)


def test_the_codec_option():
    """It has to have both methods; none means JSON."""
    assert isinstance(read_codec(None), JSONCodec)
    codec = JSONCodec()
    assert read_codec(codec) is codec
    for wrong in (object(), "json", msgspec.json.Encoder(), msgspec.json.Decoder()):
        with pytest.raises(ValueError, match="methods encode and decode"):
            read_codec(wrong)


@pytest.mark.parametrize("number", [-(2**63), 2**64 - 1])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value]], ids=["by itself", "in a list"])
def test_integers_to_the_very_ends_of_64_bits(number, wrap):
    """The least and the greatest integer that have an exact form everywhere come back; the next ones are refused."""
    codec = JSONCodec()
    assert codec.decode(codec.encode(wrap(number))) == wrap(number)
    for past in (-(2**63) - 1, 2**64):
        with pytest.raises(ValueError, match="an integer past 64 bits"):
            codec.encode(wrap(past))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65535, 65536])
def test_size_without_packing(count):
    """The length of a payload is known from its entries' sizes, whatever their number."""
    values = {f"{number}": b"" for number in range(count)}
    assert packed_size(count, sum(map(entry_size, values, values.values()))) == len(pack(values))


@pytest.mark.parametrize("key", ["", "k" * 31, "k" * 32, "k" * 255, "k" * 256, "k" * 65535, "k" * 65536, "\u00e9" * 16])
@pytest.mark.parametrize("length", [0, 255, 256, 65535, 65536])
def test_size_of_an_entry(key, length):
    """It counts the bytes of key, value and both their headers."""
    value = b"v" * length
    assert packed_size(1, entry_size(key, value)) == len(pack({key: value}))
