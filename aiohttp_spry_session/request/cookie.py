"""What the response does to the client's cookies: decided by what the request did, and once more at the headers.

Only a request that itself starts, renews, rotates or destroys a session writes the cookie (promise 5). A second one,
the spare, keeps both ways open where nobody knows whether a new identifier landed (promise 9).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from .arrival import Place
from .status import KEEP, CookieAction

__all__ = ["CookieDecision"]


class CookieDecision(Struct, eq=False):
    """The decision of one request."""

    spares: Sequence[str] = ()
    """What the client presented beside its identifier, since a rotation of it had an outcome that nobody knew."""
    action: CookieAction = KEEP
    """What becomes of the session's cookie."""
    spare: Place | None = None
    """Where the session is, if a step landed of which nobody knows; the client is given its identifier too."""
    spare_action: CookieAction = KEEP
    """What becomes of the cookie beside it."""
    went_on: bool = False
    """Whether the request went on, and others with it, since this was decided."""

    def __repr__(self) -> str:
        # (promise 10) never the spares
        return f"<CookieDecision {self.action.name}, spare {self.spare_action.name}>"

    @property
    def writes(self) -> bool:
        """Whether the response writes either cookie."""
        return self.action is not KEEP or self.spare_action is not KEEP

    @property
    def repeats(self) -> bool:
        """Whether the client is to keep its identifier, and what it holds beside that changes."""
        return self.action is KEEP and self.spare_action is not KEEP

    def send(self) -> None:
        """Send the identifier: this request has started, renewed or rotated the session (promise 5)."""
        self.action = CookieAction.SEND

    def keep(self) -> None:
        """Leave the client's cookie as it is: another response has written the newer one, or nothing is newer."""
        self.action = KEEP

    def keep_all(self) -> None:
        """Leave all that the client holds as it is."""
        self.action = self.spare_action = KEEP

    def expire(self) -> None:
        """Remove the client's cookie."""
        self.action = CookieAction.EXPIRE

    def go_on(self) -> None:
        """Take note that the loop went on: since this was decided others may have moved the session."""
        self.went_on = True

    def doubt(self, place: Place) -> None:
        """Give the client a second identifier: nobody knows whether it is the one that counts (promise 9)."""
        self.spare, self.spare_action = place, CookieAction.SEND

    def settle(self) -> None:
        """Let the client forget what it was given beside its identifier: it is settled which one counts."""
        self.spare = None
        self.spare_action = CookieAction.EXPIRE if self.spares else KEEP

    def could_not_look_again(self, place: Place) -> None:
        """Keep both ways open: nobody knows whether the session was moved on since (promise 9)."""
        if self.spare is None:  # else there is no room for a third: the likelier ones are sent
            self.keep()
            self.doubt(place)
