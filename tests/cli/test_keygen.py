"""Keys from the command line, and a store that is sealed with one."""

from __future__ import annotations

import sys

import pytest

from aiohttp_spry_session import SessionAdapter, SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter, keys_from_text

from .conftest import Run, a_session, on


def test_a_new_key(run: Run) -> None:
    """Another one each time, of which nothing else is said; it needs no store."""
    first, second = run("keygen"), run("keygen")
    assert (first.code, first.err) == (0, "")
    assert first.out != second.out
    assert len(keys_from_text(first.out)) == 1
    (answer,) = run("keygen", "--json").objects
    assert keys_from_text(answer["key"])


def test_without_what_seals(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "aiohttp_spry_session.adapters.sealed")
    code, out, err = run("keygen")
    assert (code, out) == (1, "")
    assert "pip install 'aiohttp-spry-session[seal]'" in err


def test_a_sealed_store(run: Run, sqlite_url: str) -> None:
    """With its key it is read and changed as any other; with another one that is refused, in one line."""
    key, other = run("keygen").out.strip(), run("keygen").out.strip()

    async def put_sealed(adapter: SessionAdapter) -> None:
        assert isinstance(adapter, SQLiteSessionAdapter)
        sealed = SealedAdapter(adapter, key)
        handle, record = a_session("ann", cart=["shoe"])
        assert await sealed.create(handle, record)

    on(sqlite_url, put_sealed)
    (session,) = run(sqlite_url, "list", "--values", "--json", SPRY_SESSION_KEYS=key).objects
    assert (session["owner"], session["values"]) == ("ann", {"cart": ["shoe"]})
    assert run(sqlite_url, "count", SPRY_SESSION_KEYS=key).out == "1\n"
    code, out, err = run(sqlite_url, "list", SPRY_SESSION_KEYS=other)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "none of the keys is the one that this store was sealed with" in err
    assert key not in err
    assert run(sqlite_url, "revoke", session["handle"], SPRY_SESSION_KEYS=f"{other},{key}").code == 0
    assert run(sqlite_url, "count", SPRY_SESSION_KEYS=f"{other},{key}").out == "0\n"
