"""What carries identifiers: how a header is read and written, and which names it may have."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiohttp_spry_session import SessionManager, SessionRecord
from aiohttp_spry_session.carriers import HeaderCarrier, add_vary
from aiohttp_spry_session.request.arrival import Place
from aiohttp_spry_session.request.state import SessionState

from ..support import arrive

RECORD = SessionRecord(b"", 1, 0.0, None)
OLD, NEW, OTHER = (Place(name, name, RECORD) for name in ("old", "new", "other"))


def read(*values: str) -> tuple[list[str], list[str]]:
    request = make_mocked_request("GET", "/", CIMultiDict([("x-session", value) for value in values]))
    carrier = HeaderCarrier("X-Session")
    assert carrier.is_in(request)
    presented, spares = carrier.read(request)
    return list(presented), list(spares)


READ = {
    "empty": ([""], [], []),
    "one": (["a"], ["a"], []),
    "spaces and tabs": ([" \ta\t "], ["a"], []),
    "other spaces stay": (["\xa0a\x0b"], ["\xa0a\x0b"], []),
    "in doubt": (["a,b"], ["a"], ["b"]),
    "in doubt, spaces": (["a , b"], ["a"], ["b"]),
    "a start in doubt": ([",b"], [], ["b"]),
    "nothing beside": (["a,"], ["a"], []),
    "a comma": ([","], [], []),
    "three": (["a,b,c"], ["a,b,c"], []),
    "two commas": ([",,"], [",,"], []),
    "several headers": (["a", "b"], ["a", "b"], []),
    "the same twice": (["a", "a"], ["a"], []),
    "the same in other words": (["a", "a ", "a,b", "c,b"], ["a", "c"], ["b"]),
    "one of several is empty": (["", "a"], ["a"], []),
    "five": (list("abcde"), list("abcd"), []),
    "five in doubt": ([f",{letter}" for letter in "abcde"], [], list("abcd")),
    "quotes stay": (['"a"'], ['"a"'], []),
    "no cookie": (["X-Session=a; b"], ["X-Session=a; b"], []),
}


@pytest.mark.parametrize(("values", "presented", "spares"), READ.values(), ids=READ)
def test_read(values, presented, spares):
    """What a header says is taken as it stands: the identifier, and after a comma the one that may have replaced it."""
    assert read(*values) == (presented, spares)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")), min_size=1, max_size=8))
def test_read_takes_anything(values):
    """Whatever a client sends, at most four of a kind come out, none empty, none twice, and none that was not sent."""
    for found in read(*values):
        assert len(found) == len(set(found)) <= 4
        assert all(found)
        assert all(any(one in value for value in values) for one in found)


def test_other_requests_have_no_header():
    """Nor is a name that only looks alike taken for it."""
    carrier = HeaderCarrier("X-Session")
    for headers in ({}, {"X-Sessions": "a"}, {"Cookie": "X-Session=a"}, {"X_Session": "a"}):
        assert not carrier.is_in(make_mocked_request("GET", "/", headers))


def state_of(presented: list[str], spares: list[str], place: Place | None) -> SessionState:
    state = arrive(SessionManager(), presented).state
    state.cookie.spares = spares
    state.place = place
    return state


def written(state: SessionState) -> str | None:
    response = web.Response()
    HeaderCarrier("X-Session").write(response, state)
    values = response.headers.getall("X-Session", [])
    assert len(values) < 2
    assert "Set-Cookie" not in response.headers
    assert response.headers.get("Cache-Control") == ("no-store" if values else None)
    return values[0] if values else None


WRITTEN = {
    "nothing": (["old"], OLD, lambda cookie: None, None),
    "sent": (["old"], NEW, lambda cookie: cookie.send(), "new"),
    "removed": (["old"], None, lambda cookie: cookie.expire(), ""),
    "sent, but it ended since": (["old"], None, lambda cookie: cookie.send(), ""),
    "in doubt": (["old"], OLD, lambda cookie: cookie.doubt(NEW), "old,new"),
    "a start in doubt": ([], None, lambda cookie: cookie.doubt(NEW), ",new"),
    "removed, and a start in doubt": (["old"], None, lambda cookie: (cookie.expire(), cookie.doubt(NEW)), ",new"),
    "sent, and a rotation in doubt": (["old"], OTHER, lambda cookie: (cookie.send(), cookie.doubt(NEW)), "other,new"),
    "in doubt, presented with others": (["dead", "old"], OLD, lambda cookie: cookie.doubt(NEW), "old,new"),
    "in doubt, and ended": (["old"], None, lambda cookie: cookie.doubt(NEW), "old,new"),
    "in doubt, and nobody has the one it has now": (["old"], OTHER, lambda cookie: cookie.doubt(NEW), "old,new"),
    "in doubt, what was presented is none": (["\udcff", "a b"], None, lambda cookie: cookie.doubt(NEW), ",new"),
    "in doubt, the first is none": (["\udcff", "old"], None, lambda cookie: cookie.doubt(NEW), "old,new"),
    "settled": (["old"], OLD, lambda cookie: cookie.settle(), "old"),
    "settled, and sent": (["old"], NEW, lambda cookie: (cookie.settle(), cookie.send()), "new"),
}


@pytest.mark.parametrize(("presented", "place", "decide", "value"), WRITTEN.values(), ids=WRITTEN)
def test_write(presented, place, decide, value):
    """The header says all that the client is to present, and only what it presented before or is to have."""
    state = state_of(presented, ["beside"], place)
    decide(state.cookie)
    assert written(state) == value


def test_write_replaces_the_handlers_own():
    """One header of the name leaves, and a Cache-Control that the handler chose stays."""
    response = web.Response(headers={"x-session": "mine", "Cache-Control": "private"})
    response.headers.add("X-SESSION", "mine too")
    state = state_of([], [], NEW)
    state.cookie.send()
    HeaderCarrier("X-Session").write(response, state)
    assert response.headers.getall("X-Session") == ["new"]
    assert response.headers.getall("Cache-Control") == ["private"]


VARY = {
    "nothing": (None, "Cookie, X-Session"),
    "both": ("x-session, COOKIE", "x-session, COOKIE"),
    "the one": ("X-Session", "X-Session, Cookie"),
    "the other": ("Cookie", "Cookie, X-Session"),
    "others": ("Accept", "Accept, Cookie, X-Session"),
    "like it": ("X-Sessions", "X-Sessions, Cookie, X-Session"),
    "empty": ("", "Cookie, X-Session"),
    "star": ("*", "*"),
    "star and more": ("Accept, *", "Accept, *"),
}


@pytest.mark.parametrize(("present", "expected"), VARY.values(), ids=VARY)
def test_vary(present, expected):
    """Each name that is missing is added, once."""
    headers = CIMultiDict() if present is None else CIMultiDict(Vary=present)
    for _ in range(2):
        add_vary(headers, "Cookie, X-Session")
    assert headers.getall("Vary") == [expected]


@pytest.mark.parametrize("name", ["X-Session", "x-session", "Session", "My.App_Session!", "X-Cookie", "Hosts"])
def test_header_names_that_are_taken_as_they_stand(name):
    """A name of one's own is fine, and can be read back."""
    assert SessionManager(header=name).header == name


def test_no_header_by_default():
    """Only who asks for it has one."""
    assert SessionManager().header is None


@pytest.mark.parametrize(
    "name",
    ["", " ", "X Session", "X-Session ", "X-Session:", "X\r\nSession", "X-Sitzung\xe4", 'X"S"', "a,b", b"X", 1, True],
)
def test_header_names_that_are_none(name):
    """A name that no header can have is refused, and what is allowed is said."""
    with pytest.raises(ValueError, match=r"header must be the name of a header, such as 'X-Session', or None, not"):
        SessionManager(header=name)


@pytest.mark.parametrize(
    "name",
    [
        "Cookie",
        "set-cookie",
        "AUTHORIZATION",
        "Vary",
        "Cache-Control",
        "Location",
        "Host",
        "Content-Length",
        "Content-Type",
        "Transfer-Encoding",
        "Connection",
        "Accept",
        "Accept-Language",
        "Access-Control-Expose-Headers",
        "If-None-Match",
        "Sec-WebSocket-Key",
        "Proxy-Authorization",
    ],
)
def test_header_names_that_mean_something_else(name):
    """A name that HTTP needs for itself is refused: a session would break what it is for."""
    with pytest.raises(ValueError, match=r"header must be a name of its own, such as 'X-Session': .* HTTP"):
        SessionManager(header=name)
