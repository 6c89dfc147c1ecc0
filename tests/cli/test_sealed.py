"""A sealed store is read with the keys that the environment has."""

from __future__ import annotations

import base64
import sys
from types import ModuleType

import pytest

from aiohttp_spry_session import SessionAdapter, SessionManager
from aiohttp_spry_session.testing import FaultyAdapter

from .conftest import Run, a_session, on, put

MODULE = "aiohttp_spry_session.adapters.sealed"


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Something that stands for the adapter that unseals; what it was given as keys."""
    given: list[list[str]] = []

    def make(adapter: SessionAdapter, keys: list[str]) -> SessionAdapter:
        if keys == ["short"]:
            raise ValueError("a key has 32 bytes")
        given.append(keys)
        return FaultyAdapter(adapter)

    module = ModuleType(MODULE)
    module.SealedAdapter = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    return given


def test_keys(run: Run, sqlite_url: str, sealed: list[list[str]]) -> None:
    """One or more, between commas or blanks; without any the store is read as it is."""
    put(sqlite_url, a_session())
    assert run(sqlite_url, "count", SPRY_SESSION_KEYS="one,two three").out == "1\n"
    assert run(sqlite_url, "count", SPRY_SESSION_KEYS=" ").out == "1\n"
    assert sealed == [["one", "two", "three"]]


def test_copies_need_no_key(run: Run, sqlite_url: str, sealed: list[list[str]]) -> None:
    """Records are copied with their seals."""
    put(sqlite_url, a_session())
    assert run(sqlite_url, "copy", sqlite_url.replace(".db", "-2.db"), SPRY_SESSION_KEYS="one").code == 0
    assert sealed == []


def test_wrong_keys(run: Run, sqlite_url: str, sealed: list[list[str]]) -> None:
    """They are not repeated."""
    code, out, err = run(sqlite_url, "count", SPRY_SESSION_KEYS="short")
    assert (code, out) == (1, "")
    assert err == "spry-session: error: SPRY_SESSION_KEYS is set, but cannot be used: a key has 32 bytes\n"


def test_what_unseals_is_not_installed(run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told."""
    monkeypatch.setitem(sys.modules, MODULE, None)
    code, out, err = run(sqlite_url, "count", SPRY_SESSION_KEYS="k")
    assert (code, out) == (1, "")
    assert err.startswith("spry-session: error: SPRY_SESSION_KEYS is set, but cannot be used: ")
    assert err.count("\n") == 1


def test_a_sealed_store(run: Run, sqlite_url: str) -> None:
    """With its keys it is as any other; without, or with others, nothing is shown, and nothing breaks."""
    pytest.importorskip("cryptography")
    from aiohttp_spry_session.adapters.sealed import SealedAdapter

    keys = [base64.b64encode(bytes([number]) * 32).decode() for number in range(3)]
    handle, record = a_session("ann", cart=["shoe"])

    async def seal(adapter: SessionAdapter) -> None:
        async with SessionManager(SealedAdapter(adapter, keys[:1], hide_owners=True)) as manager:
            assert await manager.adapter.create(handle, record)

    on(sqlite_url, seal)
    right = f"{keys[1]},{keys[0]}"
    assert run(sqlite_url, "count", SPRY_SESSION_KEYS=right).out == "1\n"
    (shown,) = run(sqlite_url, "list", "--owner", "ann", "--values", "--json", SPRY_SESSION_KEYS=right).objects
    assert (shown["handle"], shown["owner"], shown["values"]) == (handle, "ann", {"cart": ["shoe"]})
    code, out, err = run(sqlite_url, "list", SPRY_SESSION_KEYS=keys[2])
    assert (code, out) == (1, "")
    assert "none of the keys" in err
    assert "shoe" not in run(sqlite_url, "list", "--values").out
    target = sqlite_url.replace(".db", "-copy.db")
    assert run(sqlite_url, "copy", target).code == 0
    assert run(target, "show", handle, "--json", SPRY_SESSION_KEYS=right).code == 0
    assert run(sqlite_url, "revoke", "--all", SPRY_SESSION_KEYS=right).out == "revoked 1 session\n"
    assert run(sqlite_url, "count", SPRY_SESSION_KEYS=right).out == "0\n"
