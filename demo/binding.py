"""Device-bound sessions, where browsers reach the demo over HTTPS."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from aiohttp_spry_session import SessionManager

from .settings import SETTINGS

__all__ = ["LEEWAY", "LIFETIME", "device_state", "setup"]

# The shortest that browsers put up with, so that a theft can be watched to its end.
LIFETIME = timedelta(minutes=5)
LEEWAY = timedelta(seconds=30)


def setup(app: web.Application, manager: SessionManager) -> None:
    """Offer every sign-in a binding; over plain HTTP there is none, and nothing that it needs is imported."""
    if app[SETTINGS].https:
        from aiohttp_spry_session import dbsc

        dbsc.setup(app, dbsc.DeviceBinding(manager, lifetime=LIFETIME, leeway=LEEWAY, exclude=("/static",)))


def device_state(request: web.Request) -> str:
    """Return whether the session is bound to the device that the request comes from."""
    if not request.app[SETTINGS].https:
        return "unbound"
    from aiohttp_spry_session import dbsc

    return dbsc.get_device(request).state
