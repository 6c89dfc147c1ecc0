"""Keys, options, and what is derived: the parts of sealed records that need no store."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from msgspec.structs import replace

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionRecord
from aiohttp_spry_session.adapters.sealed import SealedAdapter, generate_key, keys_from_text
from aiohttp_spry_session.adapters.sealed.keys import Key, read_keys
from aiohttp_spry_session.adapters.sealed.seals import BrokenSealError, seal, unseal
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter

KEY, OTHER = bytes(range(32)), b"o" * 32
RECORD = SessionRecord(b"values", 1, 1000.0, 2000.0, "ada")


@pytest.mark.parametrize(
    "keys",
    [
        [],
        b"",
        "",
        b"k" * 31,
        b"k" * 33,
        b"k" * 16,
        [KEY, b"short"],
        "not base64!",
        base64.b64encode(b"k" * 16).decode(),
    ],
)
def test_keys_of_another_size_are_refused(keys: Any) -> None:
    """256 bits, nothing else; and the message does not repeat them."""
    with pytest.raises(ValueError, match="key") as caught:
        SealedAdapter(MemorySessionAdapter(), keys)
    assert "not base64!" not in str(caught.value)


@pytest.mark.parametrize("key", [7, None, bytearray(32), ("a", 1)])
def test_what_is_no_key_is_refused(key: Any) -> None:
    """Bytes or text."""
    with pytest.raises(ValueError, match="a key"):
        SealedAdapter(MemorySessionAdapter(), [key])


def test_keys_as_text() -> None:
    """Base64, with either alphabet, with or without its filling, is the same as the bytes."""
    raw = b"\xfb\xff" * 16
    for text in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")):
        assert read_keys(text)[0].id == read_keys(raw)[0].id == read_keys([raw])[0].id
    assert len(read_keys([raw, raw, KEY])) == 2


def test_generated_keys() -> None:
    """A new key is 256 bits, as text that the adapter takes, and another one each time."""
    made = {generate_key() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b64decode(key)) for key in made} == {32}
    assert {len(key) for key in made} == {44}
    first, second = list(made)[:2]
    assert keys_from_text(f"{first}, {second}\n") == [first, second]
    for text in ("", " , ", f"{first},short"):
        with pytest.raises(ValueError, match="key"):
            keys_from_text(text)


def test_derived_keys() -> None:
    """By HKDF-SHA256, each for one purpose; that of a record is an expansion, by its version and its handle."""
    key = Key(KEY)
    made = {b"id": key.id, b"canary": key.canary, b"sealing": key._sealing, b"owners": key._owners}
    salt = b"aiohttp-spry-session sealed records"
    for purpose, derived in made.items():
        assert derived == HKDF(algorithm=SHA256(), length=len(derived), salt=salt, info=purpose).derive(KEY)
    assert len(set(made.values())) == 4
    expected = HKDFExpand(algorithm=SHA256(), length=32, info=(7).to_bytes(8, signed=True) + b"h").derive(key._sealing)
    assert key.for_record(b"h", 7) == expected
    assert len({key.for_record(handle, version) for handle in (b"h", b"i", b"") for version in (1, 2)}) == 6
    assert key.id.hex() in repr(key)
    assert KEY.hex() not in repr(key)


@pytest.mark.parametrize(
    ("owner", "payload"),
    [
        (
            "ada",
            "c1015707c90f711b199a000102030405060708090a0b96239a3a1fae11c77626eda42000f0c0ffb68b1f326d96",
        ),
        (
            "TICAIyf90GP8_5A6_ylxy_NyTTVTU-OFQpTTyfth07Q",
            "c1015707c90f711b199a000102030405060708090a0b9755fb5669aa067095cc1fc6743cf34a81e86df0f3fa3f855bb48da40e66",
        ),
    ],
    ids=["shown", "hidden"],
)
def test_form_of_a_seal(owner: str, payload: str) -> None:
    """What was once sealed can be read for ever."""
    key = Key(KEY)
    assert unseal({key.id: key}, "h", replace(RECORD, owner=owner, payload=bytes.fromhex(payload))) == RECORD


def test_no_two_seals_are_alike() -> None:
    """A new nonce each time, also for the same record."""
    key = Key(KEY)
    assert len({seal(key, "h", RECORD, hide_owner=False).payload for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "record", [replace(RECORD, version=2**70), replace(RECORD, created_at="x"), replace(RECORD, owner=7)]
)
def test_fields_that_no_store_should_answer(record: Any) -> None:
    """They are a broken seal, not a failure."""
    sealed = seal(Key(KEY), "h", RECORD, hide_owner=False)
    with pytest.raises(BrokenSealError):
        unseal({Key(KEY).id: Key(KEY)}, "h", replace(record, payload=sealed.payload))


def test_twice_is_refused() -> None:
    """Around another one with one of the same keys, however deep it is."""
    inner = SealedAdapter(MemorySessionAdapter(), [OTHER, KEY])
    with pytest.raises(ValueError, match="sealed with one of these keys already"):
        SealedAdapter(inner, KEY)
    with pytest.raises(ValueError, match="once is enough"):
        SealedAdapter(WrappingAdapter(inner), [b"n" * 32, OTHER])
    SealedAdapter(inner, b"n" * 32)


@pytest.mark.parametrize("option", ["hide_owners", "accept_unsealed"])
def test_options_are_flags(option: str) -> None:
    """Anything else is a mistake."""
    with pytest.raises(ValueError, match=option):
        SealedAdapter(MemorySessionAdapter(), KEY, **{option: "no"})


async def test_two_seals_with_different_keys() -> None:
    """They work, each with a canary of its own."""
    store = MemorySessionAdapter()
    clock = FakeClock(1500.0)
    adapter = SealedAdapter(SealedAdapter(store, KEY), OTHER)
    adapter.clock = clock
    await adapter.open()
    assert await adapter.create("h", RECORD)
    assert await adapter.load("h") == RECORD
    assert len(store) == 3
    await adapter.close()
    with pytest.raises(AdapterError, match="none of the keys"):
        await SealedAdapter(SealedAdapter(store, KEY), b"n" * 32).open()


async def test_a_store_that_is_away_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """The site starts, and looks at the canary before it looks at a session."""
    store = MemorySessionAdapter()
    await SealedAdapter(store, KEY).open()
    faulty = FaultyAdapter(store)
    adapter = SealedAdapter(faulty, OTHER)
    faulty.fail("load")
    await adapter.open()
    assert "the sealed session store does not answer yet" in caplog.text
    with pytest.raises(AdapterError, match="none of the keys"):
        await adapter.load("h")
    await adapter.close()
    right = SealedAdapter(faulty, KEY)
    faulty.fail("load")
    await right.open()
    assert await right.load("h") is None


async def test_a_start_that_is_cut_short() -> None:
    """What was opened is closed."""
    faulty = FaultyAdapter(MemorySessionAdapter())
    adapter = SealedAdapter(faulty, KEY)
    faulty.fail("load", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        await adapter.open()
    assert faulty.calls == ["open", "load", "close"]


async def test_a_canary_that_others_keep_changing() -> None:
    """Two sites with two orders of the keys start at once: neither waits for ever."""

    class Contested(WrappingAdapter):
        async def create(self, handle: str, record: SessionRecord) -> bool:
            await self.adapter.create(handle, replace(record, payload=Key(OTHER).canary))
            return False

    adapter = SealedAdapter(Contested(MemorySessionAdapter()), [KEY, OTHER])
    await adapter.open()
    assert await adapter.load("h") is None


async def test_scan_shows_what_is_whole(caplog: pytest.LogCaptureFixture) -> None:
    """Every session but the corrupt ones, unsealed, and not the canary; ``count`` does not look into them."""
    store = MemorySessionAdapter()
    store.clock = FakeClock(1500.0)
    adapter = SealedAdapter(store, KEY, hide_owners=True)
    for handle in ("a", "b"):
        assert await adapter.create(handle, RECORD)
    await store.create("forged", RECORD)
    assert dict([pair async for pair in adapter.scan()]) == {"a": RECORD, "b": RECORD}
    assert "'forged' is corrupt and counts as absent: it is not sealed" in caplog.text
    assert await adapter.count() == 3
    wrong = SealedAdapter(store, OTHER)
    with pytest.raises(AdapterError, match="none of the keys"):
        await anext(wrong.scan())


async def test_an_index_that_lies() -> None:
    """Somebody else's session, whole as it is, is not found for an owner whose name stands beside it in an index."""

    class Lying(WrappingAdapter):
        async def find(self, owner: str) -> Mapping[str, SessionRecord]:
            return await self.adapter.find("ada")

    store = MemorySessionAdapter()
    store.clock = FakeClock(1500.0)
    adapter = SealedAdapter(Lying(store), KEY)
    assert await adapter.create("h", RECORD)
    assert set(await adapter.find("ada")) == {"h"}
    assert not await adapter.find("mallory")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the one for a module that is not there, and says what to install."""
    package = "aiohttp_spry_session.adapters.sealed"
    monkeypatch.delitem(sys.modules, package)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ImportError, match=r"needs cryptography: pip install 'aiohttp-spry-session\[seal\]'") as caught:
        import_module(package)
    assert caught.value.name == "cryptography"
