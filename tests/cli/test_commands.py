"""Each command, on each store."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiohttp_spry_session.record import retire

from .conftest import FAR, Run, a_session, held, on, put

CREATED = "2027-01-15T08:00:00+00:00"
EXPIRES = datetime.fromtimestamp(FAR + 3600, UTC).isoformat()


def test_count(run: Run, url: str) -> None:
    """The number alone, or an object."""
    assert run(url, "count") == (0, "0\n", "")
    put(url, *(a_session() for _ in range(3)), ("dead", a_session(lifetime=-FAR)[1]))
    assert run(url, "count") == (0, "3\n", "")
    assert run(url, "count", "--json").objects == [{"count": 3}]


def test_list(run: Run, url: str) -> None:
    """Each live session in a line below the heads, without its values."""
    ann, nobody = put(url, a_session("ann", cart=["secret shoe"]), a_session(lifetime=None))
    code, out, err = run(url, "list")
    head, *lines = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split() == ["handle", "created", "expires", "owner"]
    assert sorted(lines) == sorted(
        [
            f"{ann}  2027-01-15 08:00:00  {EXPIRES[:10]} {EXPIRES[11:19]}  ann",
            f"{nobody}  2027-01-15 08:00:00  never                -",
        ]
    )


def test_list_of_an_owner(run: Run, url: str) -> None:
    """Theirs alone; of nobody none, which is no failure."""
    ann, _ = put(url, a_session("ann"), a_session("bob"))
    assert [entry["handle"] for entry in run(url, "list", "--owner", "ann", "--json").objects] == [ann]
    assert run(url, "list", "--owner", "carl", "--json") == (0, "", "")


def test_list_for_programs(run: Run, url: str) -> None:
    """An object a line, with times in ISO 8601, and the values only where they are asked for."""
    (ann,) = put(url, a_session("ann", cart=["shoe"]))
    expected = {"handle": ann, "owner": "ann", "created_at": CREATED, "expires_at": EXPIRES}
    (found,) = run(url, "list", "--json").objects
    assert expected.items() <= found.items()
    assert "values" not in found
    (found,) = run(url, "list", "--json", "--values").objects
    assert {**expected, "values": {"cart": ["shoe"]}}.items() <= found.items()


def test_list_with_values(run: Run, url: str) -> None:
    """For people they stand at the end of the line; what is no JSON is how much there is of it."""
    put(url, a_session("ann", cart=["shoe"]))
    assert run(url, "list", "--values").out.splitlines()[1].endswith('  ann                   {"cart": ["shoe"]}')


def test_show(run: Run, url: str) -> None:
    """One session, with all that is known of it."""
    (ann,) = put(url, a_session("ann", cart=["shoe"]))
    code, out, err = run(url, "show", ann)
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [
        f"handle         {ann}",
        "owner          ann",
        "created        2027-01-15 08:00:00",
    ]
    assert "shoe" not in out
    assert 'values         {"cart": ["shoe"]}' in run(url, "show", ann, "--values").out
    assert run(url, "show", ann, "--json").objects[0]["handle"] == ann


@pytest.mark.parametrize("handle", ["0" * 64, "no handle", "", "Ä", "\x1b[2J", "a\nb", "x" * 5000])
def test_show_of_nothing(run: Run, url: str, handle: str) -> None:
    """A handle that is none is not found, and what was typed controls no terminal."""
    code, out, err = run(url, "show", handle)
    assert (code, out) == (1, "")
    assert err.startswith("spry-session: error: no live session has the handle '")
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_session_that_was_rotated(run: Run, url: str) -> None:
    """A handle from an old line of a log leads to the session."""
    new, record = a_session("ann", version=2)
    put(url, (new, record), ("old", retire(record, new, now=FAR)))
    assert run(url, "show", "old", "--json").objects[0]["handle"] == new
    assert run(url, "revoke", "old").code == 0
    assert held(url) == {}


def test_revoke(run: Run, url: str) -> None:
    """The sessions that are named end, each once."""
    one, two, three = put(url, a_session("ann"), a_session("bob"), a_session())
    assert run(url, "revoke", one, three, one) == (0, "revoked 2 sessions\n", "")
    assert list(held(url)) == [two]
    assert run(url, "revoke", two, "--json").objects == [{"revoked": 1, "not_found": []}]


def test_revoke_of_nothing(run: Run, url: str) -> None:
    """Those that are there end all the same; the others are named."""
    (one,) = put(url, a_session())
    code, out, err = run(url, "revoke", "zero", one, "two")
    assert (code, out) == (1, "revoked 1 session\n")
    assert err == "spry-session: error: no live session has the handle 'zero', 'two'\n"
    assert held(url) == {}
    code, out, err = run(url, "revoke", one, "--json")
    assert (code, out) == (1, f'{{"revoked": 0, "not_found": ["{one}"]}}\n')


def test_revoke_of_an_owner(run: Run, url: str) -> None:
    """All of theirs end; of nobody none, which is no failure."""
    put(url, a_session("ann"), a_session("ann"), a_session("bob"))
    assert run(url, "revoke", "--owner", "ann") == (0, "revoked 2 sessions\n", "")
    assert run(url, "revoke", "--owner", "ann", "--json") == (0, '{"revoked": 0}\n', "")
    assert [record.owner for record in held(url).values()] == ["bob"]


def test_revoke_of_all(run: Run, url: str) -> None:
    """Everybody's end."""
    put(url, *(a_session(f"user {number}") for number in range(30)))
    assert run(url, "revoke", "--all") == (0, "revoked 30 sessions\n", "")
    assert held(url) == {}


def test_purge(run: Run, url: str) -> None:
    """What has expired goes, where the store does not let go of it by itself."""
    put(url, a_session(), ("dead", a_session(lifetime=-FAR)[1]))
    purged = 0 if url.startswith("redis") else 1
    assert run(url, "purge") == (0, f"purged {purged} expired\n", "")
    assert run(url, "purge", "--json").objects == [{"purged": 0}]


def test_check(run: Run, url: str) -> None:
    """The store answers, in so many milliseconds."""
    code, out, err = run(url, "check")
    assert (code, err) == (0, "")
    assert out.startswith("the store answers (")
    (fact,) = run(url, "check", "--json").objects
    assert fact["ok"] is True
    assert 0 < fact["seconds"] < 30


def test_a_corrupt_record_is_told_and_fails_nothing(run: Run, url: str) -> None:
    """The others are listed; where a command was done, what the library logged comes after it."""
    handle, record = a_session()
    put(url, ("corrupt", type(record)(b"?", 1, record.created_at, None)), (handle, record))
    code, out, err = run(url, "list", "--json")
    assert (code, out.count("\n")) == (0, 1)
    assert err == "spry-session: the stored session corrupt is corrupt and counts as absent\n"
    assert run(url, "show", "corrupt") == (1, "", "spry-session: error: no live session has the handle 'corrupt'\n")


def test_commands_make_nothing(run: Run, url: str) -> None:
    """A look at a store leaves it as it was."""
    (one,) = put(url, a_session("ann"))
    before = held(url)
    for command in (["count"], ["list", "--values"], ["show", one], ["check"], ["purge"]):
        assert run(url, *command).code == 0
    assert held(url) == before


def test_values_that_are_no_json(run: Run, sqlite_url: str) -> None:
    """A codec of the site's own is not known here: it is shown how much there is."""
    handle, record = a_session()
    from aiohttp_spry_session.codec import pack

    put(sqlite_url, (handle, type(record)(pack({"sealed": b"\xff\x00"}), 1, record.created_at, None)))
    assert run(sqlite_url, "show", handle, "--values", "--json").objects[0]["values"] == {"sealed": "<2 bytes>"}
    assert run(sqlite_url, "list", "--json").code == 0
    assert on(sqlite_url, lambda adapter: adapter.count()) == 1
