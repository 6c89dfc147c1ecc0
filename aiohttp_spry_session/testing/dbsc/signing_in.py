"""A software device that is signed in and bound, without a page for it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from ...dbsc.binding import challenge_for, new_offer
from ...dbsc.devices import bindings_of
from ...manager import SessionManager
from ...request.state import SessionState
from ..sessions import StoredSession
from .device import SoftwareDevice

__all__ = ["sign_in"]


async def sign_in(
    device: SoftwareDevice,
    *,
    owner: str,
    values: Mapping[str, Any] | None = None,
    key: str = "session",
    manager: SessionManager | None = None,
) -> StoredSession:
    """Start a session of an owner in the store, give the device its cookie, and let it register its key.

    The arguments are those of :func:`~aiohttp_spry_session.testing.start_session`.

    :raises LookupError: where the application's sessions are not bound to devices.
    """
    stored = StoredSession(device.client, key=key, manager=manager)
    for devices in bindings_of(device.client.app):
        if devices.manager is stored.manager:
            break
    else:
        raise LookupError(f"the sessions {key!r} of the application are not bound to devices: dbsc.setup(app, ...)")
    offer = _Offer()
    async with stored.begin((), companion=offer) as session:
        for name, value in (values or {}).items():
            await session.set(name, value)
        await session.bind(owner)
    options = devices.options
    challenge = challenge_for(offer.binding, options, devices.manager.clock())
    await device.register(options.register_path, challenge)
    return stored


class _Offer:
    """Makes the offer that a response would carry."""

    def __init__(self) -> None:
        self.binding = new_offer()

    def arrived(self, state: SessionState, now: float) -> None:
        """Nothing has arrived."""

    def offer(self, state: SessionState) -> bytes:
        return self.binding.packed()

    def leaving(self, state: SessionState, headers: MutableMapping[str, str]) -> None:
        """No response leaves."""
