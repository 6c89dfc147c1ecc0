"""What a request's device is: a decision, made of the session's record and the bound cookie that came along.

The record has been loaded anyway, so that this asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ..facts import Facts
from ..policy import to_datetime
from .binding import Binding, read_binding
from .options import Options
from .seals import Pass, read_pass

__all__ = ["UNBOUND", "Device", "DeviceState", "Sight", "judge"]

DeviceState = Literal["unbound", "bound", "unproven"]


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of the device that a request came from. No secret in it."""

    state: DeviceState
    """``unbound``: the session is bound to none, or there is no session. ``bound``: this request comes from the device
    that the session is bound to. ``unproven``: it does not show that it does, so it has no session."""
    algorithm: str | None = None
    """How the device signs: ``ES256`` or ``RS256``."""
    thumbprint: str | None = None
    """The name of its key (RFC 7638)."""
    registered_at: datetime | None = None
    """When the session was bound to it, in UTC."""
    proved_at: datetime | None = None
    """When it last proved that it has the key, in UTC; ``None`` also while registration is under way."""


UNBOUND = Device("unbound")


class Sight:
    """What the look-up made of a request: kept as it was, and told when somebody asks."""

    __slots__ = ("_bound_at", "binding", "found", "state")

    state: DeviceState

    def __init__(
        self,
        state: DeviceState,
        binding: Binding | None = None,
        bound_at: float | None = None,
        found: Pass | None = None,
    ) -> None:
        self.state = state
        self.binding = binding
        self.found = found
        self._bound_at = bound_at

    @property
    def can_be_proved(self) -> bool:
        """Whether there is a key that could be shown."""
        return self.binding is not None and self.binding.key is not None

    def device(self) -> Device:
        """Return it in the form that is shown."""
        key = None if self.binding is None else self.binding.device_key
        if self.binding is None or key is None:
            return Device(self.state)
        return Device(
            self.state,
            key.algorithm,
            key.thumbprint,
            None if self._bound_at is None else to_datetime(self._bound_at),
            None if self.found is None else to_datetime(self.found.issued),
        )


_UNBOUND, _UNPROVEN = Sight("unbound"), Sight("unproven")


def judge(
    facts: Facts,
    presented: Callable[[], Sequence[str]],
    options: Options,
    *,
    since: float,
    now: float,
    required: bool,
) -> Sight:
    """Decide whether a request shows that it comes from the device that its session is bound to.

    :param facts: the session's.
    :param presented: returns the values of bound cookies that came along; called where they matter.
    :param since: when the session was last bound to its owner: what is young is not refused for want of anything, since
        its registration is under way.
    """
    if facts.binding is None:
        return _UNPROVEN if required and now >= since + options.grace else _UNBOUND
    try:
        binding = read_binding(facts.binding)
    except ValueError:
        return _UNPROVEN
    if binding.key is None:
        state: DeviceState = "unproven" if required and now >= since + options.grace else "unbound"
        return Sight(state, binding)
    latest: Pass | None = None
    for value in presented():
        found = read_pass(value, binding.secret)
        if found is not None and (latest is None or found.until > latest.until):
            latest = found
    if latest is not None and now < latest.until + options.leeway:
        return Sight("bound", binding, facts.bound_at, latest)
    # Requests that left before the registration's answer was there have no bound cookie yet.
    if now < max(since, facts.bound_at or 0.0) + options.grace:
        return Sight("bound", binding, facts.bound_at)
    return Sight("unproven", binding, facts.bound_at, latest)
