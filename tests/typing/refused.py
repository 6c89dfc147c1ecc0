"""What every type checker has to refuse: each line that ends in ``# refused``, and no other. Never run."""

from __future__ import annotations

from aiohttp import web

from aiohttp_spry_session import MemorySessionAdapter, Session, SessionKey, SessionManager, arrivals
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.integrations.aiohttp_security import SessionIdentityPolicy

VISITS = SessionKey("visits", int, default=0)
LAST = SessionKey("last", int)
RATIO = SessionKey("ratio", float, default=0.0)
TAGS = SessionKey("tags", list[str])


async def refused(session: Session) -> None:
    """A value of another type, ``None`` where there may be none, an option that is none."""
    await session.set(VISITS, "many")  # refused
    await session.set(VISITS, None)  # refused
    await session.set(LAST, None)  # refused
    await session.set(TAGS, ["a", 1])  # refused
    await session.update(VISITS, lambda visits: str(visits))  # refused
    await session.update(LAST, lambda last: last + 1)  # refused
    await session.increment(TAGS)  # refused
    await session.increment(VISITS, 0.5)  # refused
    text: str = await session.get(VISITS)  # refused
    number: int = await session.get(LAST)  # refused
    number = await session.pop(LAST)  # refused
    number = await session.increment(RATIO)  # refused
    print(text, number)
    sorted(await session.get(TAGS))  # refused
    await session.bind(17)  # refused
    await session.bind("user", "password")  # refused
    await session.bind("user", level=2)  # refused
    await session.bind("user", device={"port": 80})  # refused
    await session.bind("user", expiration="30 days")  # refused
    await session.bind("user", persistent=None)  # refused
    await session.confirm(2)  # refused
    session.is_fresh(None)  # refused
    session.is_fresh(300, "totp")  # refused
    SessionManager(same_site="lax")  # refused
    SessionManager(when_full="ignore")  # refused
    SessionManager(rolling="yes")  # refused
    SealedAdapter(MemorySessionAdapter(), 7)  # refused
    MigratingAdapter(MemorySessionAdapter())  # refused
    SessionIdentityPolicy(7)  # refused
    arrivals.AiohttpSessionEncryptedCookie(b"key")  # refused
    arrivals.AiohttpSessionRedis("redis://127.0.0.1")  # refused
    arrivals.setup(web.Application(), SessionManager(), MemorySessionAdapter())  # refused
