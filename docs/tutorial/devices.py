import asyncio
import hashlib
import hmac
import os
from datetime import timedelta

from aiohttp import web

from aiohttp_spry_session import SessionManager, SQLiteSessionAdapter, get_session, setup


def hash_password(password: str, salt: bytes) -> bytes:
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


USERS = {"ann": hash_password("secret", os.urandom(16))}  # stands for your table of users
NOBODY = os.urandom(80)


async def check_password(name: str, password: str) -> bool:
    """Take as long for a name that does not exist as for one that does."""
    stored = USERS.get(name, NOBODY)
    computed = await asyncio.to_thread(hash_password, password, stored[:16])
    return hmac.compare_digest(computed, stored)


async def index(request: web.Request) -> web.Response:
    session = get_session(request)
    visits = await session.increment("visits")
    who = session.owner or "nobody yet"
    return web.Response(text=f"visit {visits}, signed in: {who}\n")


async def sign_in(request: web.Request) -> web.Response:
    form = await request.post()
    name, password = str(form.get("name", "")), str(form.get("password", ""))
    if not await check_password(name, password):
        raise web.HTTPForbidden(text="wrong name or password\n")
    agent = "".join(filter(str.isprintable, request.headers.get("User-Agent", "unknown")))
    await get_session(request).bind(name, device={"browser": agent[:120]})
    raise web.HTTPSeeOther("/")


async def sign_out(request: web.Request) -> web.Response:
    await get_session(request).destroy(regenerate=False)
    raise web.HTTPSeeOther("/")


async def devices(request: web.Request) -> web.Response:
    session = get_session(request)
    if session.owner is None:
        raise web.HTTPForbidden(text="sign in first\n")
    lines = []
    for info in await manager.find(session.owner):
        mark = "this one" if info.handle == session.handle else info.handle
        browser = (info.device or {}).get("browser", "unknown")
        lines.append(f"{info.last_used_at:%Y-%m-%d %H:%M} {browser}: {mark}\n")
    return web.Response(text="".join(lines))


async def end_device(request: web.Request) -> web.Response:
    session = get_session(request)
    handle = request.match_info["handle"]
    mine = await manager.find(session.owner) if session.owner else []
    if handle not in {info.handle for info in mine}:
        raise web.HTTPNotFound(text="no such device\n")
    await manager.revoke(handle)
    raise web.HTTPSeeOther("/devices")


async def end_other_devices(request: web.Request) -> web.Response:
    session = get_session(request)
    if session.owner is None:
        raise web.HTTPForbidden(text="sign in first\n")
    ended = await manager.revoke_owner(session.owner, keep=session)
    return web.Response(text=f"ended: {ended}\n")


app = web.Application()
app.router.add_get("/", index)
app.router.add_post("/sign-in", sign_in)
app.router.add_post("/sign-out", sign_out)
app.router.add_get("/devices", devices)
app.router.add_post("/devices/end-others", end_other_devices)
app.router.add_post("/devices/{handle}/end", end_device)
manager = SessionManager(SQLiteSessionAdapter("sessions.db", expiration=timedelta(hours=8)))
setup(app, manager)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=8080)
