"""What a manager tells the application: signals in the manner of aiohttp."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiosignal import Signal

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["EventName", "Events", "SessionEvent", "call_receivers"]

logger = logging.getLogger("aiohttp_spry_session")

EventName = Literal["created", "renewed", "rotated", "destroyed", "rejected", "device_bound"]


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One thing that happened to one session.

    ``handle`` names the session (after a rotation: the new one, and ``previous`` the one before), never the secret;
    ``owner`` is known where the session was. ``request`` is that in which it happened; ``None`` outside of requests.
    ``reason`` says why:

    - created: ``started``, ``bind``, ``destroy`` (the empty session that follows a destroyed one) or ``arrived``
      (from aiohttp-session)
    - renewed: ``renew`` or ``rolling``
    - rotated: ``rotate``, ``bind``, ``confirm`` or ``limit`` (a ``bind`` that was one too many lost its owner again)
    - destroyed: ``destroy`` or ``bind`` (by a request), ``revoke``, or ``limit`` (the owner has newer ones enough)
    - rejected: an identifier that was not accepted, ``malformed``, ``unknown`` (never issued, expired or ended),
      ``retired`` (rotated away), ``corrupt`` or ``ambiguous`` (several live sessions in one request); a session that is
      bound to a device which the request does not show to come from, ``unproven``; or changes that were dropped because
      their session was ``ended``, ``expired``, ``rotated``, ``retired``, ``corrupt`` or ``unproven``
    - device_bound: ``registered``
    """

    name: EventName
    handle: str
    owner: str | None = None
    reason: str | None = None
    previous: str | None = None
    request: web.Request | None = field(default=None, compare=False)


class Events:
    """The five signals of a manager."""

    def __init__(self, owner: object) -> None:
        self.created: Signal[SessionEvent] = Signal(owner)
        self.renewed: Signal[SessionEvent] = Signal(owner)
        self.rotated: Signal[SessionEvent] = Signal(owner)
        self.destroyed: Signal[SessionEvent] = Signal(owner)
        self.rejected: Signal[SessionEvent] = Signal(owner)

    async def emit(
        self,
        name: EventName,
        handle: str,
        owner: str | None = None,
        *,
        reason: str,
        previous: str | None = None,
        request: Any = None,
    ) -> None:
        """Call the signal's receivers."""
        receivers: Signal[SessionEvent] = getattr(self, name)
        if not receivers:
            return
        await call_receivers(receivers, SessionEvent(name, handle, owner, reason, previous, request))


async def call_receivers(receivers: Signal[SessionEvent], event: SessionEvent) -> None:
    """Call receivers, one after the other; one that raises is logged, and stops nothing (CVE-2021-34428)."""
    for receiver in receivers:
        try:
            outcome: object = receiver(event)
            if inspect.isawaitable(outcome):  # a plain function is a receiver too
                await outcome
        except Exception:
            logger.exception("a receiver of on_%s failed", event.name)
