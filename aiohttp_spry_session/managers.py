"""The managers of an application, each with a key, a cookie and a header of its own."""

from __future__ import annotations

from aiohttp import web

from .manager import SessionManager

__all__ = ["add_manager", "check_inner", "managers_of"]

_MANAGERS: web.AppKey[dict[str, SessionManager]] = web.AppKey("managers", dict)


def managers_of(app: web.Application) -> dict[str, SessionManager]:
    """Return the managers that were set up on an application itself, by their keys."""
    managers: dict[str, SessionManager] | None = app.get(_MANAGERS)
    return dict(managers or {})


def add_manager(app: web.Application, manager: SessionManager, key: str) -> None:
    """Take note of one more; ``ValueError`` where the key, the cookie name or the header is taken."""
    taken = managers_of(app)
    for other_key, other in taken.items():
        if other_key == key or other.name == manager.name:
            raise ValueError(
                f"the application has a session manager with the key {other_key!r} and the cookie {other.name!r} "
                "already: give each its own"
            )
        _check_header(manager, other)
    app[_MANAGERS] = {**taken, key: manager}


def check_inner(app: web.Application, taken: dict[str, SessionManager]) -> None:
    """Raise ``ValueError`` where a sub-application's manager would take the cookie of another one's for its own."""
    for resource in app.router.resources():
        inner: web.Application | None = getattr(resource, "_app", None)
        if inner is None:
            continue
        for manager in managers_of(inner).values():
            if taken.get(manager.name, manager) is not manager:
                raise ValueError(
                    f"a sub-application has a session manager of its own with the cookie {manager.name!r}, which an "
                    "application around it has too: give each its own name, or set one manager up on both"
                )
            for outer in taken.values():
                _check_header(manager, outer)
        check_inner(inner, taken)


def _check_header(manager: SessionManager, other: SessionManager) -> None:
    """Raise ``ValueError`` where two managers would write one header of a response."""
    header = manager.header
    if header is not None and manager is not other and header.lower() == (other.header or "").lower():
        raise ValueError(f"two session managers on one way have the header {header!r}: give each its own")
