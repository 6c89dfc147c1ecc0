"""What a type checker knows of the public names; never run, read by mypy, pyright, ty and pyrefly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, assert_type

import msgspec
from aiohttp import web
from aiosignal import Signal
from redis.asyncio import Redis

from aiohttp_spry_session import (
    SESSION,
    Codec,
    JSONCodec,
    MemorySessionAdapter,
    Session,
    SessionAdapter,
    SessionError,
    SessionEvent,
    SessionInfo,
    SessionKey,
    SessionManager,
    SessionRecord,
    SQLiteSessionAdapter,
    StoreCall,
    TooManySessionsError,
    adapter_from_url,
    arrivals,
    dbsc,
    generate_identifier,
    get_session,
    session_middleware,
    setup,
)
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.observed import ObservedAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter, generate_key
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter
from aiohttp_spry_session.integrations.aiohttp_security import SessionIdentityPolicy


class Item(msgspec.Struct):
    """Something in a basket."""

    name: str


CART = SessionKey("cart", list[Item], default=[])
VISITS = SessionKey("visits", int, default=0)
LAST = SessionKey("last", int)
RATIO = SessionKey("ratio", float, default=0)
TAGS = SessionKey("tags", list[str], default=[])
WISHES = SessionKey("wishes", list[Item])
NOTE = SessionKey("note", str | None)
AGE = SessionKey("age", Annotated[int, msgspec.Meta(ge=0)])
STATE = SessionKey("state", Literal["on", "off"])


def counter(name: str) -> SessionKey[int]:
    """A key that is made where it is used."""
    return SessionKey(name, int, default=0)


def latest(name: str) -> SessionKey[int, int | None]:
    """One without a default."""
    return SessionKey(name, int)


async def in_a_handler(request: web.Request) -> web.Response:
    """The ways to a session."""
    assert_type(request[SESSION], Session)
    assert_type(get_session(request), Session)
    assert_type(get_session(request, "admin"), Session)
    return web.Response()


async def properties(session: Session) -> None:
    """What is known of it."""
    assert_type(session.identifier, str)
    assert_type(session.handle, str | None)
    assert_type(session.is_new, bool)
    assert_type(session.created_at, datetime | None)
    assert_type(session.expires_at, datetime | None)
    assert_type(session.owner, str | None)


async def reads(session: Session, other: str) -> None:
    """A typed key, a type, or neither."""
    assert_type(await session.has("a"), bool)
    assert_type(await session.has(CART), bool)
    assert_type(await session.keys(), list[str])
    items: list[Item] = await session.get(CART)
    assert_type(await session.get(WISHES), list[Item] | None)
    assert_type(await session.get(WISHES, items), list[Item])
    assert_type(await session.get(VISITS, other), int | str)
    assert_type(await session.get(LAST), int | None)
    assert_type(await session.get(LAST, 0), int)
    assert_type(await session.get(LAST, other), int | str)
    assert_type(await session.get(RATIO), float)
    assert_type(await session.get(NOTE), str | None)
    assert_type(await session.get(AGE), int | None)
    assert_type(await session.get(STATE), Literal["on", "off"] | None)
    assert_type(await session.get(counter("a")), int)
    assert_type(await session.get(latest("a")), int | None)
    assert_type(await session.get("a", type=int), int | None)
    assert_type(await session.get("a", 0, type=int), int)
    assert_type(await session.get("a", other, type=int), str | int)
    assert_type(await session.get("a", type=list[Item]), list[Item] | None)
    assert_type(await session.get("a", type=str | None), str | None)
    assert_type(await session.get("a"), Any)
    assert_type(await session.get("a", 0), Any)


async def wherever(session: Session) -> None:
    """What is read fits wherever its type does."""
    print(await session.get(VISITS), await session.get(LAST), await session.pop(VISITS), await session.get(NOTE))
    print(await session.get(LAST, 5), await session.get("a", type=int), await session.get("a", 1, type=int))
    print(await session.increment(VISITS), await session.increment(RATIO, 0.5))
    print(await session.update(VISITS, lambda visits: visits + 1))
    print(sorted(await session.get(TAGS)), len(await session.get(TAGS)), ", ".join(await session.get(TAGS)))
    for tag in await session.get(TAGS):
        print(f"{tag.upper()} {await session.get(VISITS)}")
    wider: float = await session.get(VISITS)
    wider = await session.get(LAST, 0)
    wider = await session.get("a", 1, type=int)
    wider = await session.update(VISITS, lambda visits: visits + 1)
    wider = await session.increment(VISITS) + wider
    wider = await session.increment(VISITS)
    wider = await session.pop(VISITS)
    either: int | str = await session.get(VISITS)
    either = await session.update(VISITS, lambda visits: visits + 1)
    anything: object = await session.increment(RATIO)
    print(wider, either, anything)
    if (last := await session.get(LAST)) is not None:
        assert_type(last, int)


async def writes(session: Session) -> None:
    """The value of a typed key is of its type."""
    await session.set(CART, [Item("a")])
    await session.set(CART, [])
    await session.set(TAGS, sorted(await session.get(TAGS)))
    await session.set(VISITS, await session.get(VISITS) + 1)
    await session.set(LAST, 1)
    await session.set(RATIO, 1)
    await session.set(NOTE, None)
    await session.set(NOTE, "a")
    await session.set("a", object())
    await session.remove(CART)
    await session.clear()


async def atomic(session: Session, other: str) -> None:
    """The result is the definitive value."""
    assert_type(await session.update(VISITS, lambda visits: visits + 1), int)
    assert_type(await session.update(LAST, lambda last: (last or 0) + 1), int)
    assert_type(await session.update(LAST, lambda last: last + 1, 0), int)
    items: list[Item] = await session.update(CART, lambda items: [*items, Item("b")])
    items = await session.update(CART, lambda items: [*items, Item("b")], [])
    print(items)
    assert_type(await session.update("a", str), str)
    assert_type(await session.increment(VISITS), int)
    assert_type(await session.increment(LAST, 2), int)
    assert_type(await session.increment(RATIO), float)
    assert_type(await session.increment(RATIO, 0.5), float)
    assert_type(await session.increment("a"), int)
    assert_type(await session.increment("a", 2), int)
    assert_type(await session.increment("a", 0.5), float)
    assert_type(await session.pop(VISITS), int)
    assert_type(await session.pop(LAST), int | None)
    assert_type(await session.pop(LAST, other), int | str)
    assert_type(await session.pop("a"), Any)


async def life(session: Session) -> None:
    """Nothing is returned that could be mistaken for a result."""
    await session.renew()
    await session.rotate()
    await session.rotate(grace=timedelta(seconds=30))
    await session.rotate(grace=30)
    await session.bind("user")
    await session.bind(
        "user",
        level="password",
        device={"agent": "Lynx"},
        expiration=timedelta(days=30),
        max_lifetime=90 * 86400,
        persistent=True,
    )
    await session.bind("user", level=None, device=None, expiration=None, max_lifetime=None, persistent=False)
    await session.confirm()
    await session.confirm("totp")
    await session.destroy()
    await session.destroy(regenerate=False)
    await session.load()
    await session.save()
    await session.reload()


async def socket(session: Session, request: web.Request) -> None:
    """A block depends on the session, with a WebSocket or without."""
    async with session.alive() as nothing:
        assert_type(nothing, None)
    async with session.alive(web.WebSocketResponse(), code=4001):
        pass


async def hints(adapter: SessionAdapter) -> None:
    """What ended, or that all is to be looked at."""
    assert_type(adapter.hints(), AsyncIterator[str | None])
    async for hint in adapter.hints():
        assert_type(hint, str | None)


def facts(session: Session) -> None:
    """What is known of a session beside its values."""
    assert_type(session.handle, str | None)
    assert_type(session.owner, str | None)
    assert_type(session.level, str | None)
    assert_type(session.device, dict[str, str] | None)
    assert_type(session.created_at, datetime | None)
    assert_type(session.last_used_at, datetime | None)
    assert_type(session.authenticated_at, datetime | None)
    assert_type(session.is_fresh(timedelta(minutes=5)), bool)
    assert_type(session.is_fresh(300, level="totp"), bool)


def is_active(request: web.Request) -> bool:
    """Polling keeps nobody signed in."""
    return request.path != "/poll"


async def asynchronous() -> str:
    """An identifier that took its time."""
    return ""


class Encrypting:
    """A codec needs no base class."""

    def encode(self, value: Any) -> bytes:
        """Turn a value into bytes."""
        return b""

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Turn bytes into a value."""
        return None


async def outside(manager: SessionManager, session: Session) -> None:
    """The manager, in a script."""
    async with manager as opened:
        assert_type(opened, SessionManager)
        found = await opened.find("user")
        assert_type(found, list[SessionInfo])
        assert_type(found[0].values, dict[str, Any])
        assert_type(found[0].last_used_at, datetime)
        assert_type(found[0].authenticated_at, datetime | None)
        assert_type(found[0].level, str | None)
        assert_type(found[0].device, dict[str, str] | None)
        async with opened.edit(found[0].handle) as edited:
            assert_type(edited, Session)
        assert_type(await opened.revoke(found[0].handle), bool)
        assert_type(await opened.revoke_owner("user", keep=session), int)
        assert_type(opened.sessions(), AsyncIterator[SessionInfo])
        assert_type([info async for info in opened.sessions("user")], list[SessionInfo])
        assert_type(await opened.count(), int)
        assert_type(await opened.revoke_all(), int)
        await opened.check()
        assert_type(await opened.purge(), int)


async def receiver(event: SessionEvent) -> None:
    """A receiver of every signal."""
    assert_type(event.handle, str)
    assert_type(event.owner, str | None)
    assert_type(event.reason, str | None)
    assert_type(event.previous, str | None)
    assert_type(event.request, web.Request | None)


def too_many(error: TooManySessionsError) -> SessionError:
    """A refusal says how many are allowed."""
    assert_type(error.most, int)
    return error


def application() -> web.Application:
    """Everything that is configured."""
    codec: Codec = Encrypting()
    manager = SessionManager(
        SQLiteSessionAdapter("sessions.db", expiration=timedelta(hours=8), synchronous="NORMAL"),
        identifier_generator=asynchronous,
        same_site="Strict",
        max_lifetime=timedelta(days=1),
        timeout=None,
        header="X-Session",
        codec=codec,
    )
    SessionManager(MemorySessionAdapter(expiration=None), identifier_generator=generate_identifier, codec=JSONCodec())
    SessionManager(adapter_from_url("memory://"))
    SessionManager(rolling=is_active, track_use=timedelta(minutes=1), max_sessions=5, when_full="refuse")
    SessionManager(rolling=True, track_use=60, max_sessions=None, when_full="end-oldest")
    assert_type(manager.on_created, Signal[SessionEvent])
    manager.on_rejected.append(receiver)
    app = web.Application(middlewares=[session_middleware(manager)])
    setup(app, manager, key="admin")
    return app


class Third(SessionAdapter):
    """A third party's adapter, with the four methods."""

    async def load(self, handle: str) -> SessionRecord | None:
        """Look."""
        return None

    async def create(self, handle: str, record: SessionRecord) -> bool:
        """Create."""
        return True

    async def update(self, handle: str, record: SessionRecord) -> bool:
        """Update."""
        return True

    async def destroy(self, handle: str) -> bool:
        """Destroy."""
        return True


async def third() -> None:
    """What it gets from its base."""
    adapter = Third(expiration=60)
    assert_type(await adapter.find("user"), Mapping[str, SessionRecord])
    assert_type(adapter.scan(), AsyncIterator[tuple[str, SessionRecord]])
    assert_type(adapter.scan_all(), AsyncIterator[tuple[str, SessionRecord]])
    assert_type(await adapter.count(), int)
    assert_type(await adapter.purge(), int)
    assert_type(adapter.expiration, float | None)


def around(adapter: SessionAdapter) -> None:
    """Adapters around adapters are adapters, and what observes is a plain function."""

    def observe(call: StoreCall) -> None:
        assert_type(call.operation, str)
        assert_type(call.seconds, float)
        assert_type(call.outcome, Literal["ok", "failed", "cancelled"])

    key = generate_key()
    assert_type(key, str)
    nested: SessionAdapter = SealedAdapter(ObservedAdapter(MigratingAdapter(adapter, adapter), observe), [key, b""])
    assert_type(WrappingAdapter(nested).adapter, SessionAdapter)
    assert_type(WrappingAdapter(nested).clock(), float)
    SessionIdentityPolicy("session")


@dbsc.required
async def vault(request: web.Request) -> web.Response:
    """A handler stays what it is."""
    device = dbsc.get_device(request)
    assert_type(device, dbsc.Device)
    assert_type(device.thumbprint, str | None)
    assert_type(device.proved_at, datetime | None)
    assert_type(await dbsc.prove(request, within=timedelta(seconds=30)), bool)
    return web.Response(text=device.state)


def binding(app: web.Application, manager: SessionManager) -> None:
    """Sessions that are bound to devices."""
    devices = dbsc.DeviceBinding(manager, lifetime=timedelta(minutes=10), exclude=("/static",), algorithms=("ES256",))
    assert_type(devices.on_device_bound, Signal[SessionEvent])
    dbsc.setup(app, devices)
    app.router.add_get("/vault", vault)


def arriving(app: web.Application, manager: SessionManager, client: Redis) -> None:
    """Visitors of a site that used aiohttp-session."""
    arrivals.setup(
        app,
        manager,
        arrivals.AiohttpSessionRedis(client, cookie_name="old", max_age=3600, owner="user_id"),
        arrivals.AiohttpSessionEncryptedCookie("key", max_age=timedelta(hours=1)),
        arrivals.AiohttpSessionEncryptedCookie(b"key", max_age=None, cookie_name="older", owner=None),
    )
