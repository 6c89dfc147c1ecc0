"""Who comes in from another library: asked where nothing else is known, and looked up as anybody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionManager
from aiohttp_spry_session.request.status import ABSENT, LIVE, RETIRED, UNLOADED, CookieAction

from ...support import Life, arrive, session_of


class Newcomer:
    """Has an identifier, or fails; counts how often it is asked."""

    def __init__(self, *answer: str | Exception) -> None:
        self.answer = answer
        self.asked = 0

    async def identify(self, *args: Any) -> Sequence[str]:
        self.asked += 1
        for one in self.answer:
            if isinstance(one, Exception):
                raise one
        return [str(one) for one in self.answer]

    def leaving(self, *args: Any) -> None:
        """Nothing to do."""


@pytest.fixture
def manager() -> SessionManager:
    """A manager in memory."""
    return SessionManager(MemorySessionAdapter(), autostart=True)


async def come(manager: SessionManager, newcomer: Newcomer, presented: Sequence[str] = ()) -> Life:
    """A request of a newcomer, looked up."""
    life = arrive(manager, presented)
    life.state.expect(newcomer)
    assert (life.status, life.starting) == (UNLOADED, False)
    await life.driver.load(life.state)
    return life


async def stored(manager: SessionManager) -> str:
    """The identifier of a session that is there."""
    life = arrive(manager, ())
    await session_of(life).set("n", 1)
    await life.commit()
    return str(life.place.identifier)


async def test_who_has_nothing(manager: SessionManager) -> None:
    """Goes on as any visitor without a session."""
    newcomer = Newcomer()
    life = await come(manager, newcomer)
    assert (life.status, life.starting, newcomer.asked) == (ABSENT, True, 1)
    assert life.presented == []
    assert life.cookie.action is CookieAction.KEEP


async def test_who_has_a_session(manager: SessionManager) -> None:
    """Has it, and is given its cookie, which is looked at again before it is sent (promise 5)."""
    identifier = await stored(manager)
    life = await come(manager, Newcomer(identifier), ["dead"])
    assert (life.status, life.starting, life.is_new) == (LIVE, False, False)
    assert await session_of(life).get("n") == 1
    assert life.presented == ["dead", identifier]
    assert (life.cookie.action, life.cookie.went_on) == (CookieAction.SEND, True)


@pytest.mark.parametrize("identifier", ["unknown", "no identifier,"])
async def test_whose_session_is_not_there(manager: SessionManager, identifier: str) -> None:
    """It is as if they had presented what nobody issued: an end removes it."""
    life = await come(manager, Newcomer(identifier))
    assert (life.status, life.cookie.action) == (ABSENT, CookieAction.KEEP)
    await session_of(life).destroy(regenerate=False)
    assert life.cookie.action is CookieAction.EXPIRE


@pytest.mark.parametrize(("grace", "status"), [(0, RETIRED), (30, LIVE)])
async def test_whose_session_was_rotated(manager: SessionManager, grace: int, status: object) -> None:
    """Another request has written the newer cookie (promise 5)."""
    identifier = await stored(manager)
    other = arrive(manager, [identifier])
    await session_of(other).rotate(grace=grace)
    life = await come(manager, Newcomer(identifier))
    assert (life.status, life.cookie.action) == (status, CookieAction.KEEP)
    for presented in [identifier], [identifier, str(other.place.identifier)]:
        newcomer = Newcomer("unknown")
        await come(manager, newcomer, presented)
        assert newcomer.asked == 0


async def test_who_has_several_sessions(manager: SessionManager) -> None:
    """None is used, and an end is the end of all (promise 4)."""
    identifiers = [await stored(manager), await stored(manager)]
    life = await come(manager, Newcomer(*identifiers))
    assert (life.status, life.cookie.action) == (ABSENT, CookieAction.KEEP)
    assert await session_of(life).keys() == []
    await session_of(life).destroy(regenerate=False)
    assert life.cookie.action is CookieAction.EXPIRE
    assert await manager.count() == 0


async def test_who_has_a_session_beside_one_that_was_rotated(manager: SessionManager) -> None:
    """It is theirs in this request; the cookie of another one is left alone (promise 5)."""
    identifiers = [await stored(manager), await stored(manager)]
    await session_of(arrive(manager, identifiers[:1])).rotate()
    life = await come(manager, Newcomer(*identifiers))
    assert (life.status, life.cookie.action) == (LIVE, CookieAction.KEEP)


async def test_who_fails(manager: SessionManager) -> None:
    """Nothing is known yet, nothing starts, and the next look asks again."""
    identifier = await stored(manager)
    newcomer = Newcomer(AdapterError("load", "away"))
    life = arrive(manager, ["dead"])
    life.state.expect(newcomer)
    with pytest.raises(AdapterError):
        await life.driver.load(life.state)
    assert (life.status, life.starting, life.news, life.presented) == (UNLOADED, False, [], ["dead"])
    newcomer.answer = (identifier,)
    await life.driver.load(life.state)
    assert (life.status, newcomer.asked) == (LIVE, 2)
