"""Arrivals set up on an application."""

from __future__ import annotations

from aiohttp import web

from ..manager import SessionManager, check_manager, requests_of
from ..managers import managers_of
from .encrypted_cookie import AiohttpSessionEncryptedCookie
from .old import Source
from .redis import AiohttpSessionRedis
from .visitors import Visitors

__all__ = ["setup"]


def setup(
    app: web.Application, manager: SessionManager, *sources: AiohttpSessionRedis | AiohttpSessionEncryptedCookie
) -> None:
    """Let visitors in whose sessions aiohttp-session keeps: call it after ``setup(app, manager)``.

    Who comes without a live session of the manager's, and with a cookie that one of the old storages still vouches for,
    gets a session with the values of the old one. Its identifier is the old cookie's value until the next rotation, or
    a digest of it where that is longer than 128 characters, as that of an encrypted cookie, or no identifier. The old
    cookie is removed in the browser, with the attributes that the manager's cookie has. ``created_at`` is the old
    session's ``created``, as ``authenticated_at`` is, where there is an owner: the sign-in may have been long before
    that, so where a proof has to be recent ask ``is_fresh`` for a level too. A value that cannot be stored is left out,
    and the log names its key.

    :param sources: one or more of :class:`AiohttpSessionRedis` and :class:`AiohttpSessionEncryptedCookie`; of several
        with one cookie name the first that vouches for a cookie counts.
    :raises ValueError: where there is none, one that is none, one with a cookie of a manager of the application, and
        where the manager is not set up there, or lets others in already.
    """
    check_manager(manager)
    if not isinstance(app, web.Application) or manager not in managers_of(app).values():
        raise ValueError("the manager is not set up on this application: call setup(app, manager) before")
    if not sources or not all(isinstance(source, Source) for source in sources):
        raise ValueError(
            "setup needs one or more old storages, AiohttpSessionRedis(client) or AiohttpSessionEncryptedCookie(key, "
            f"max_age=...), not {', '.join(f'a {type(source).__name__}' for source in sources) or 'none'}"
        )
    taken = {name for other in managers_of(app).values() for name in (other.name, f"{other.name}-next")}
    names = dict.fromkeys(source.cookie_name for source in sources)
    for name in names:
        if name in taken:
            raise ValueError(f"cookie_name must be that of the old cookies: {name!r} is a session manager's own")
    requests = requests_of(manager)
    if requests.newcomers is not None:
        raise ValueError("the manager lets others in already: call arrivals.setup once, with all old storages")
    # aiohttp-session knows no ``Partitioned``, and a browser removes a cookie only from where it keeps it.
    cookies = [requests.cookies.named(name, partitioned=False) for name in names]
    requests.newcomers = Visitors(sources, cookies, manager.codec, manager.timeout)
