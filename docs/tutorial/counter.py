from datetime import timedelta

from aiohttp import web

from aiohttp_spry_session import SessionManager, SQLiteSessionAdapter, setup


async def index(request: web.Request) -> web.Response:
    session = request["session"]
    visits = await session.increment("visits")
    return web.Response(text=f"visit {visits}\n")


app = web.Application()
app.router.add_get("/", index)
adapter = SQLiteSessionAdapter("sessions.db", expiration=timedelta(hours=8))
setup(app, SessionManager(adapter))

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=8080)
