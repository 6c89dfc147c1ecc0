"""The public face: a manager's device binding, what is known of a request's device, and asking for a fresh proof."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiosignal import Signal

from ..cookies import read_cookie
from ..events import SessionEvent, call_receivers
from ..exceptions import SessionEndedError, SessionError
from ..manager import SessionManager, check_manager, requests_of
from ..managers import managers_of
from ..middleware import get_session
from ..session import companion_of
from .arrival import Device
from .binding import Binding
from .endpoints import Endpoints
from .keys import ALGORITHMS, Algorithm
from .options import Options, read_options, read_within
from .sessions import BoundSession
from .stored import StoredSessions
from .visit import REQUIRED, Visit, Visits

__all__ = ["DeviceBinding", "bindings_of", "get_device", "prove", "required", "setup"]

H = TypeVar("H")


class DeviceBinding:
    """Binds a manager's sessions to the devices that their users sign in with.

    Every option is checked here; a ``ValueError`` says what is allowed. Times are ``timedelta`` or seconds.

    :param manager: its cookie needs ``secure=True``, and may be neither partitioned nor have a ``domain``.
    :param path: where the two endpoints are; within the path of the manager's cookie.
    :param lifetime: how long a proof holds, from 300 to 3600 s: how long copied cookies are worth something.
    :param leeway: how much longer an old bound cookie is accepted, up to 300 s.
    :param grace: how long after a sign-in, or a registration, requests may come without a bound cookie, up to 300 s.
    :param required: treat a user's session that is bound to no device as one that does not prove it, once the grace is
        over.
    :param exclude: paths that need no session, such as those of style sheets: browsers refresh nothing for them.
    :param algorithms: those that keys may have, the preferred one first.
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        path: str = "/.dbsc",
        lifetime: timedelta | float = 600,
        leeway: timedelta | float = 30,
        grace: timedelta | float = 15,
        required: bool = False,
        exclude: Iterable[str] = (),
        algorithms: Iterable[Algorithm] = ALGORITHMS,
    ) -> None:
        self.manager = check_manager(manager)
        self.options: Options = read_options(
            manager,
            path=path,
            lifetime=lifetime,
            leeway=leeway,
            grace=grace,
            required=required,
            exclude=exclude,
            algorithms=algorithms,
        )
        self._on_device_bound: Signal[SessionEvent] = Signal(self)
        cookies = requests_of(manager).cookies.named(self.options.cookie)
        self.visits = Visits(self.options, cookies, clock=manager.clock)
        self.endpoints = Endpoints(
            self.options,
            StoredSessions(manager),
            cookies,
            identify=self._identify,
            tell=self._tell,
            clock=manager.clock,
        )

    @property
    def on_device_bound(self) -> Signal[SessionEvent]:
        """A session was bound to a device: its browser registered a key."""
        return self._on_device_bound

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer at the endpoints; :func:`setup` puts it outside of everything else."""
        endpoint = self.endpoints.find(request.path)
        return await handler(request) if endpoint is None else await endpoint(request)

    def _identify(self, request: web.Request) -> Sequence[str]:
        headers = request.headers.getall(hdrs.COOKIE, ())
        name = self.manager.name
        # Of a rotation in doubt the browser holds both identifiers (promise 9).
        return list(dict.fromkeys([*read_cookie(headers, name), *read_cookie(headers, f"{name}-next")]))

    async def _tell(self, session: BoundSession, binding: Binding, request: web.Request) -> None:
        event = SessionEvent("device_bound", session.handle, session.owner, "registered", request=request)
        await call_receivers(self.on_device_bound, event)


_BINDINGS: web.AppKey[list[DeviceBinding]] = web.AppKey("bindings", list)


def setup(app: web.Application, devices: DeviceBinding) -> None:
    """Bind the sessions of an application: the root one, after ``setup(app, manager)``.

    :raises ValueError: where the manager is not set up there, is bound already, or the paths are another binding's.
    """
    if not isinstance(devices, DeviceBinding):
        raise ValueError(f"setup needs a DeviceBinding, not a {type(devices).__name__}: DeviceBinding(manager)")
    if devices.manager not in managers_of(app).values():
        raise ValueError("the binding's manager is not set up on this application: call setup(app, manager) before")
    bindings = app.setdefault(_BINDINGS, [])
    if any(other.options.path == devices.options.path for other in bindings):
        raise ValueError(
            f"another binding of this application has the path {devices.options.path!r}: give each its own"
        )
    requests = requests_of(devices.manager)
    if requests.companions not in (None, devices.visits):
        raise ValueError("the manager has a device binding already")
    requests.companions = devices.visits
    bindings.append(devices)
    app.middlewares.insert(0, devices.middleware)


def bindings_of(app: web.Application) -> list[DeviceBinding]:
    """Return the bindings that were set up on an application itself."""
    return list(app.get(_BINDINGS, ()))


def get_device(request: web.Request, key: str = "session") -> Device:
    """Return what is known of the device that a request comes from.

    :param key: the ``key`` that the session's manager was set up with.
    :raises SessionNotLoadedError: with ``lazy=True``, before the session was used: await ``session.load()`` first.
    :raises AdapterError: where the store failed.
    :raises SessionError: where the request's sessions are bound to no devices.
    """
    session = get_session(request, key)
    _ = session.is_new  # raises where nothing is known
    visit, state = companion_of(session)
    if not isinstance(visit, Visit):
        raise SessionError(
            f"the sessions {key!r} are not bound to devices: call dbsc.setup(app, dbsc.DeviceBinding(manager))"
        )
    return visit.device(state)


async def prove(request: web.Request, within: timedelta | float, key: str = "session") -> bool:
    """Make sure that the device's key was proved so recently; call it before anything is changed.

    Return ``True`` where it was, and ``False`` where the session is bound to no device, so that something else has to
    do. Where it was longer ago, or not yet, the browser is sent back to prove it at once, and comes again with the same
    request, its body included.

    :param within: ``timedelta`` or seconds, 10 at least.
    :param key: the ``key`` that the session's manager was set up with.
    :raises aiohttp.web.HTTPTemporaryRedirect: to the same address, which is all that a handler has to do.
    :raises SessionEndedError: where this request does not even show that it comes from the session's device.
    """
    seconds = read_within(within)
    await get_session(request, key).load()
    device = get_device(request, key)
    if device.state == "unbound":
        return False
    if device.state == "unproven":
        raise SessionEndedError("unproven")
    visit, _ = companion_of(get_session(request, key))
    assert isinstance(visit, Visit)  # noqa: S101 - it told of the device
    if visit.was_proved_within(seconds):
        return True
    raise visit.send_back()


def required(handler: H) -> H:
    """Mark a handler, or a view, as one where a user's session has to be bound to a device: others are as if unproven.

    It decorates the handler itself, so it stands above other decorators.
    """
    setattr(handler, REQUIRED, True)
    return handler
