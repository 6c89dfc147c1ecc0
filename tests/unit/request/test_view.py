"""The values that a request sees: exact limits, and landings in the midst of changes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from aiohttp_spry_session import SessionTooLargeError
from aiohttp_spry_session.codec import pack, unpack
from aiohttp_spry_session.facts import NO_FACTS
from aiohttp_spry_session.record import SessionRecord
from aiohttp_spry_session.request.view import View, merged

KEYS = st.sampled_from(["a", "b", "é", "long key of a session"])
DATA = st.binary(max_size=40)
CHANGE = st.tuples(KEYS, st.none() | DATA)


def record(values: dict[str, bytes], version: int = 1) -> SessionRecord:
    return SessionRecord(pack(values), version, 0.0, None)


def change(view: View, key: str, value: bytes | None) -> None:
    if value is None:
        view.drop(key, forget=False)
    else:
        view.put(key, value)


@given(st.lists(CHANGE), st.integers(1, 200))
@example([("a", b"1" * 10), ("b", b"1" * 30), ("a", None), ("c", b"1" * 5), ("d", b"1" * 20)], 60)
def test_limit_is_exact(changes: list[tuple[str, bytes | None]], limit: int) -> None:
    """Law: a key is refused exactly where the packed whole would be too large, unless it makes it no larger."""
    view = View(limit)
    model: dict[str, bytes] = {}
    for key, value in changes:
        wanted = merged(model, {key: value})
        if value is not None and len(pack(wanted)) > limit and len(pack(wanted)) > len(pack(model)):
            with pytest.raises(SessionTooLargeError) as caught:
                view.put(key, value)
            assert (caught.value.size, caught.value.limit) == (len(pack(wanted)), limit)
        else:
            change(view, key, value)
            model = wanted
        assert view.values == model


@given(st.dictionaries(KEYS, DATA), st.lists(CHANGE), st.integers(1, 200))
def test_limit_that_was_lowered(stored: dict[str, bytes], changes: list[tuple[str, bytes | None]], limit: int) -> None:
    """Law: whatever was stored, what every put allowed can be packed, or had been as large."""
    view = View(limit)
    view.refreshed(record(stored))
    for key, value in changes:
        before = len(pack(view.values))
        try:
            change(view, key, value)
        except SessionTooLargeError:
            assert len(pack(view.values)) == before
        else:
            assert len(pack(view.values)) <= max(limit, before)
    assert view.packed(view.values, NO_FACTS) == pack(view.values)


@given(st.dictionaries(KEYS, DATA), st.integers(1, 60))
def test_what_is_packed(values: dict[str, bytes], limit: int) -> None:
    """Law: for a session that is not there yet, the limit is the limit."""
    view = View(limit)
    if len(pack(values)) > limit:
        with pytest.raises(SessionTooLargeError):
            view.packed(values, NO_FACTS)
    else:
        assert view.packed(values, NO_FACTS) == pack(values)
    assert View(None).packed(values, NO_FACTS) == pack(values)


@given(st.dictionaries(KEYS, DATA), st.lists(CHANGE), st.lists(CHANGE))
def test_landing_in_the_midst_of_changes(
    stored: dict[str, bytes], before: list[tuple[str, bytes | None]], since: list[tuple[str, bytes | None]]
) -> None:
    """Law: what landed is seen, with what was changed since; what is left to store makes the one of the other."""
    view = View(None)
    view.refreshed(record(stored))
    for key, value in before:
        change(view, key, value)
    step, values, landed = view.sent(), view.values, record(view.values)
    for key, value in since:
        change(view, key, value)
    seen = dict(view.values)
    view.landed(landed, values, NO_FACTS, step)
    assert view.values == seen
    assert seen == merged(unpack(landed.payload), view.changes)
    assert set(view.changes) <= {key for key, _ in since}
    if not since:
        assert view.changes == {}


@given(st.dictionaries(KEYS, DATA), st.lists(CHANGE), KEYS, DATA, st.lists(CHANGE))
def test_landing_of_what_was_computed(
    stored: dict[str, bytes],
    before: list[tuple[str, bytes | None]],
    key: str,
    computed: bytes,
    since: list[tuple[str, bytes | None]],
) -> None:
    """Law: a key that was computed from the newest values is seen, unless the request changed it since."""
    view = View(None)
    view.refreshed(record(stored))
    for name, value in before:
        change(view, name, value)
    step, values = view.sent(), merged(view.values, {key: computed})
    for name, value in since:
        change(view, name, value)
    view.landed(record(values), values, NO_FACTS, step)
    assert view.values == merged(values, view.changes)
    for name, value in {key: computed, **dict(since)}.items():
        assert view.values.get(name) == value


@given(st.dictionaries(KEYS, DATA), st.lists(CHANGE), st.dictionaries(KEYS, DATA))
def test_refresh_makes_the_changes_on_the_newest_state(
    stored: dict[str, bytes], changes: list[tuple[str, bytes | None]], newest: dict[str, bytes]
) -> None:
    """Law: of another request's values it takes all that it did not change itself (promise 2)."""
    view = View(None)
    view.refreshed(record(stored))
    for key, value in changes:
        change(view, key, value)
    view.refreshed(record(newest, 2))
    assert view.values == merged(newest, dict(changes))
    assert view.changes == dict(changes)


@given(st.dictionaries(KEYS, DATA), st.lists(CHANGE), st.lists(CHANGE))
def test_discard_while_a_landing_is_under_way(
    stored: dict[str, bytes], before: list[tuple[str, bytes | None]], since: list[tuple[str, bytes | None]]
) -> None:
    """Law: what was discarded is no change any more, and what landed all the same is seen."""
    view = View(None)
    first = record(stored)
    view.refreshed(first)
    for key, value in before:
        change(view, key, value)
    step, values = view.sent(), dict(view.values)
    for key, value in since:
        change(view, key, value)
    view.discard(first)
    assert (view.values, view.changes) == (stored, {})
    view.landed(record(values), values, NO_FACTS, step)
    assert (view.values, view.changes) == (values, {})


def test_discard_without_a_session() -> None:
    """There is nothing to go back to."""
    view = View(None)
    view.put("a", b"1")
    view.discard(None)
    assert (view.values, view.changes) == ({}, {})


def test_forgotten_key() -> None:
    """What never was stored need not be removed."""
    view = View(None)
    view.put("a", b"1")
    view.drop("a", forget=True)
    assert (view.values, view.changes) == ({}, {})


def test_corrupt_state_changes_nothing() -> None:
    """A record that cannot be read is told of, and what was seen stays."""
    view = View(None)
    view.refreshed(record({"a": b"1"}))
    with pytest.raises(ValueError, match=r"."):
        view.refreshed(replace(record({}), payload=b"\xc1"))
    assert view.values == {"a": b"1"}


def test_nothing_is_seen_of_what_is_over() -> None:
    """Nor is any of it left to store, or counted into a limit."""
    view = View(30)
    view.put("a", b"1" * 20)
    step = view.sent()
    view.landed(record(view.values), view.values, NO_FACTS, step)
    view.clear()
    assert (view.values, view.changes) == ({}, {})
    with pytest.raises(SessionTooLargeError):
        view.packed({"a": b"1" * 30}, NO_FACTS)
