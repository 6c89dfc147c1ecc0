"""What the store knows of what a client presented, and which way a rotation of unknown outcome went (promise 9)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from ..cookies import is_cookie_value
from ..exceptions import AdapterError, ConflictError
from ..identifiers import handle_of
from ..store.guard import GuardedStore
from ..store.trails import Trails
from .arrival import Sighting
from .companion import Newcomer
from .landing import Landing
from .plan import touch
from .state import SessionState
from .status import ABSENT, RETIRED, UNLOADED, LostError, News, Status

__all__ = ["LookUp"]


class LookUp:
    """Looks up what the requests of a manager presented."""

    def __init__(self, store: GuardedStore, trails: Trails, landing: Landing, clock: Callable[[], float]) -> None:
        self._store = store
        self._trails = trails
        self._landing = landing
        self._clock = clock

    async def look_up(self, state: SessionState) -> None:
        """Ask the store for each of the presented identifiers, and tell the state which one counts."""
        sightings = []
        for identifier in state.presented:
            sighting = await self._sight(state, identifier)
            if sighting is not None:
                sightings.append(sighting)
        state.arrive(sightings, self._clock())
        if state.cookie.spares:
            await self._look_up_spares(state)
        if state.newcomer is not None and not state.known:
            await self._let_in(state, state.newcomer)
        if state.companion is not None and state.place is not None:
            state.companion.arrived(state, self._clock())
        if state.place is None:
            await self._landing.prepare_identifier(state)

    async def look_up_handle(self, state: SessionState, handle: str) -> None:
        """Ask the store for a session by its handle, wherever a rotation has taken it."""
        newest, record = await self._trails.newest(handle)
        state.arrive([Sighting("", newest, newest, record)], self._clock())

    async def _sight(self, state: SessionState, identifier: str) -> Sighting | None:
        handle = asked = handle_of(identifier)
        if not is_cookie_value(identifier):
            state.news.append(News("rejected", asked, None, "malformed"))
            return None
        record = await self._store.load(asked)
        if record is not None and record.retired:
            handle, record = await self._trails.follow(asked, record)
        return Sighting(identifier, asked, handle, record)

    async def _let_in(self, state: SessionState, newcomer: Newcomer[SessionState]) -> None:
        """Look for a session of whoever comes in from another library; where that fails nothing is known yet."""
        state.status = UNLOADED
        try:
            identifiers = await newcomer.identify(state, self._store, self._clock)
            sightings = [sighting for one in identifiers if (sighting := await self._sight(state, one)) is not None]
        except BaseException:
            begun = [news for news in state.news if news.name == "created"]
            state.unload()
            state.news = begun  # it is in the store, and the next request will not begin it again
            raise
        state.presented = [*state.presented, *identifiers]
        state.arrive(sightings, self._clock())
        # One that was rotated away: another request has written the newer cookie.
        if state.place is not None and not state.place.follows and len(state.known) == 1:
            state.cookie.send()
            state.cookie.go_on()  # the handler is still to come, and other requests with it

    async def _look_up_spares(self, state: SessionState) -> None:
        """Settle what is in doubt, before anybody is told of the session; where that fails nothing is known yet."""
        status, state.status = state.status, UNLOADED
        try:
            await self._settle(state, status)
        except BaseException as error:
            state.unload()
            if isinstance(error, ConflictError):
                raise AdapterError("update", "the session kept changing while it was looked up") from error
            raise
        if state.status is UNLOADED:
            state.status = status

    async def _settle(self, state: SessionState, status: Status) -> None:
        """Settle a rotation of unknown outcome (promise 9): the client presented the identifiers before and after it.

        Where the one before is live, a write lets the rotation, should it still be under way, find its version gone,
        and what it made is removed. Where it is not, the one after it counts.
        """
        try:
            if await self._fence_off(state):
                return
        except LostError:
            pass  # a rotation landed: this one, or one that leaves the other no chance
        self._move_on(state, await self._successors(state), status)

    async def _fence_off(self, state: SessionState) -> bool:
        """Let the rotation in doubt not land any more; ``False`` where it has, or where nothing is known of one."""
        place = state.place
        handles = [handle_of(spare) for spare in state.cookie.spares]
        if place is None:
            return False
        if place.follows or place.handle not in handles:
            # Also within the grace of another rotation: that in doubt may be one of where it leads.
            await self._landing.land(state, lambda: touch(state, self._clock(), handles))
            await self._remove(handles, await self._passed(state) if place.follows else ())
        state.cookie.settle()
        return True

    def _move_on(self, state: SessionState, sightings: list[Sighting], status: Status) -> None:
        """Take over what the identifiers after the rotation lead to, in place of what the one before did."""
        news, state.news = state.news, []
        state.leave(ABSENT, values=False)
        known, state.news = state.known, []
        state.arrive(sightings, self._clock())
        state.cookie.settle()
        if state.place is None:
            state.news = news
            if status is RETIRED:  # (promise 5) as without a spare: another request has written the newer cookie
                state.leave(RETIRED, values=False)
        elif not state.place.follows:  # else another request rotated it by the clock, and wrote the newer cookie
            state.cookie.send()
            state.cookie.go_on()  # the handler is still to come, and other requests with it
        state.known = [*known, *state.known]

    async def _successors(self, state: SessionState) -> list[Sighting]:
        """Look at the spare identifiers that may have taken over from the one before them; remove what is nobody's.

        Where that one says that another took over, a spare that is not the one is what a rotation left half-way.
        """
        spares = state.cookie.spares
        passed = await self._passed(state)
        if passed:
            await self._remove(map(handle_of, spares), passed)
            spares = [spare for spare in spares if handle_of(spare) in passed]
        sightings = [sighting for spare in spares if (sighting := await self._sight(state, spare))]
        if passed or self._store.rotates_at_once:
            return sightings
        # (promise 3) Where a rotation takes two steps, the session may have ended between them, by somebody who could
        # not know of what the first had made. What was started, and not rotated, has the version 1.
        kept = [sighting for sighting in sightings if sighting.record is None or sighting.record.version == 1]
        await self._remove([sighting.asked for sighting in sightings if sighting not in kept], ())
        return kept

    async def _passed(self, state: SessionState) -> list[str]:
        """Return the handles that took over from the presented ones, one after the other."""
        return [
            past for identifier in state.presented for past in (await self._trails.trail(handle_of(identifier)))[1:]
        ]

    async def _remove(self, handles: Iterable[str], passed: Container[str]) -> None:
        """Remove what a rotation left behind. It is no session of its own, so nobody is told of an end."""
        for handle in handles:
            if handle not in passed:
                await self._store.destroy(handle)
