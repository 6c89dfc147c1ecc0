"""The contract for every value that a record and a handle may have."""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from ...adapter import SessionAdapter
from ..clock import FakeClock
from .base import ADA, Contract, a_record, rotate

__all__ = ["HOSTILE_NAMES", "InputLaws"]

HOSTILE_NAMES = (
    "",
    " ",
    "a",
    "a ",
    " a",
    "A",
    "aa",
    "'",
    "''",
    '"',
    "`",
    "a'; DROP TABLE sessions; --",
    "') OR ('1'='1",
    "%",
    "a%",
    "_",
    "*",
    "a*",
    "?",
    "[a]",
    "{a}",
    "\\",
    "\\0",
    "$1",
    ":handle",
    "%s",
    "%(handle)s",
    "{0}",
    "NULL",
    "null",
    "None",
    "nil",
    "0",
    "1",
    "-1",
    "1e3",
    "a:b",
    "a/b",
    "../a",
    "a\r\nDEL b",
    "a\nb",
    "\t",
    "\x00",
    "a\x00",
    "a\x00b",
    "\x7f",
    "\u00e9",
    "e\u0301",
    "\u2028",
    "\ufeff",
    "\uffff",
    "\U0001f36a",
    "\u202egnihton",
    "x" * 4096,
    "x" * 4097,
    "\U0001f36a" * 1024,
    "".join(chr(33 + number * number % 9973 % 1500) for number in range(4096)),
)
"""Names that a careless store takes for syntax, for a pattern, for nothing, or for one another."""


class InputLaws(Contract):
    """Whatever goes in comes out."""

    async def test_payloads_of_any_size_and_content(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A payload is opaque: empty, all byte values, NUL, and a megabyte come back as they were."""
        every_byte = bytes(range(256))
        payloads = [b"", b"\0", every_byte, every_byte[::-1], every_byte * 256, every_byte * 256 + b"\0", b"'\"\\\r\n"]
        payloads.append(every_byte * 4096)
        for number, payload in enumerate(payloads):
            record = a_record(clock, payload, owner=ADA)
            assert await adapter.create(f"{number}", record)
            assert await adapter.load(f"{number}") == record
            longer = replace(record, payload=payload + every_byte, version=2)
            assert await adapter.update(f"{number}", longer)
            assert await adapter.load(f"{number}") == longer
            assert await adapter.update(f"{number}", replace(record, version=3))
        loaded = await asyncio.gather(*(adapter.load(f"{number}") for number in range(len(payloads))))
        assert [record.payload for record in loaded if record is not None] == payloads
        assert all(type(record.payload) is bytes for record in loaded if record is not None)

    async def test_hostile_handles(self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock) -> None:
        """Handles are compared exactly, character by character, and mean nothing."""
        records = {name: a_record(clock, b"%d" % number) for number, name in enumerate(HOSTILE_NAMES)}
        assert len(records) == len(HOSTILE_NAMES)
        created = await asyncio.gather(*(adapter.create(name, record) for name, record in records.items()))
        assert all(created)
        for name, record in records.items():
            assert await other.load(name) == record, name
        loaded = await asyncio.gather(*(adapter.load(name) for name in records))
        assert loaded == list(records.values())
        for name, record in records.items():
            assert await adapter.update(name, replace(record, version=2)), name
            assert await adapter.renew(name, None), name
            assert await rotate(adapter, name, name + "+", replace(record, version=4)), name
            await adapter.destroy(name)
            assert await adapter.load(name) is None, name
            assert await adapter.load(name + "+") == replace(record, version=4), name

    async def test_hostile_owners(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Owners are compared exactly, character by character, and mean nothing."""
        records = {f"{number}": a_record(clock, owner=name) for number, name in enumerate(HOSTILE_NAMES)}
        assert all(await asyncio.gather(*(adapter.create(handle, record) for handle, record in records.items())))
        for handle, record in records.items():
            assert await adapter.load(handle) == record
            if self.finds_owners and record.owner:
                assert dict(await adapter.find(record.owner)) == {handle: record}
        for handle, record in records.items():
            assert await adapter.update(handle, replace(record, owner=ADA, version=2))
            if self.finds_owners and record.owner:
                assert not await adapter.find(record.owner)
        if self.finds_owners:
            assert set(await adapter.find(ADA)) == set(records)

    async def test_times_keep_their_precision(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Times are IEEE doubles, and come back to the last bit."""
        clock.now = 1_700_000_000.123456789
        begin = clock()
        ends = [
            begin + 0.1 + 0.2,
            math.nextafter(begin, math.inf),
            begin + 1 / 3,
            float(2**31),
            1e10 + 1e-6,
            253402300799.5,
        ]
        for number, end in enumerate(ends):
            record = replace(a_record(clock), created_at=math.nextafter(begin, -math.inf), expires_at=end)
            assert await adapter.create(f"{number}", record)
            assert await adapter.load(f"{number}") == record
            assert await adapter.renew(f"{number}", math.nextafter(end, math.inf))
            renewed = replace(record, version=2, expires_at=math.nextafter(end, math.inf))
            assert await adapter.load(f"{number}") == renewed
            assert await rotate(adapter, f"{number}", f"{number}+", replace(record, version=3))
            assert await adapter.load(f"{number}+") == replace(record, version=3)

    async def test_the_end_is_compared_to_the_last_bit(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A record lives at the last moment before its end that a clock can show."""
        record = replace(a_record(clock), expires_at=clock() + 1 / 3)
        assert await adapter.create("a", record)
        clock.now = math.nextafter(clock() + 1 / 3, 0)
        assert await adapter.load("a") == record
        clock.now = math.nextafter(clock.now, math.inf)
        assert await adapter.load("a") is None

    async def test_versions_may_be_large(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A version is a number past 32 bits too, and compared exactly."""
        for start in (0, 9, 2**31 - 1, 2**32 - 1, 2**52):
            record = a_record(clock, version=start)
            assert await adapter.create(f"{start}", record)
            assert await adapter.update(f"{start}", replace(record, version=start)) is False
            assert await adapter.update(f"{start}", replace(record, version=start + 1)) is True
            assert await adapter.renew(f"{start}", None) is True
            assert await adapter.load(f"{start}") == replace(record, version=start + 2, expires_at=None)

    async def test_the_kinds_of_a_records_fields_stay(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Numbers, text and flags come back as what they were, so that equality says all."""
        assert await adapter.create("a", a_record(clock, owner="17"))
        record = await adapter.load("a")
        assert record is not None
        kinds = (bytes, int, float, float, str, bool)
        fields = (record.payload, record.version, record.created_at, record.expires_at, record.owner, record.retired)
        assert tuple(map(type, fields)) == kinds
