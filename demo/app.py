"""The application, put together."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from aiohttp_spry_session import SessionManager, setup

from . import (
    accounts,
    activity,
    assets,
    binding,
    confirm,
    csrf,
    devices,
    errors,
    headers,
    live,
    pages,
    password,
    preferences,
    race,
    session_page,
    shop,
    sign_in,
    socket,
    steal,
    stream,
    vouchers,
)
from .recorder import PANEL, Recorder, RecordingAdapter
from .settings import MANAGER, SETTINGS, Settings

__all__ = ["create_app"]

MAX_BODY_BYTES = 16 * 1024
PARTS = (
    accounts,
    assets,
    confirm,
    devices,
    live,
    password,
    preferences,
    race,
    session_page,
    shop,
    sign_in,
    socket,
    steal,
    stream,
    vouchers,
)


def create_app(settings: Settings) -> web.Application:
    """Return the whole demo as an application."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[SETTINGS] = settings
    manager = app[MANAGER] = create_manager(settings)
    # The order is from the outside in. Error pages stand outside of the sessions, since a session's failure (409, 503)
    # gets such a page too; the check against forged requests stands inside, since it needs the session.
    recorder = Recorder(manager)
    app.middlewares.extend([recorder.middleware, errors.error_pages])
    setup(app, manager)
    binding.setup(app, manager)
    app.middlewares.append(csrf.refuse_forged_requests)
    app.on_response_prepare.append(headers.add_security_headers)
    app.on_response_prepare.append(recorder.on_response_prepare)
    pages.setup(app)
    activity.setup(app, recorder)
    for part in PARTS:
        part.setup(app)
    return app


def create_manager(settings: Settings) -> SessionManager:
    """Return the session manager, with options for a site where people sign in."""
    return SessionManager(
        RecordingAdapter(settings.adapter),
        # Browsers hold a __Host- cookie to this very host; it needs Secure, thus HTTPS.
        name="__Host-session" if settings.https else "demo_session",
        secure=settings.https,
        same_site="Lax",
        # A session ends with the browser, or earlier; who wants to be kept signed in gets longer limits at the sign-in.
        persistent=False,
        max_lifetime=timedelta(days=1),
        rolling=is_activity,
        # The devices page shows the last use to the minute: exact times would cost a write for every request.
        track_use=timedelta(minutes=1),
        # Past the limit the oldest sign-in ends.
        max_sessions=settings.max_devices,
        # Style sheets and error pages do not use the session, so they should not ask the store for it.
        lazy=True,
        clock=settings.clock,
    )


def is_activity(request: web.Request) -> bool:
    """Whether somebody is there: the panel comes by itself, and should keep nobody signed in."""
    return request.path != PANEL
