"""Sessions that aiohttp-session keeps in encrypted cookies."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

from .old import OldSession, Source, read_old

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

__all__ = ["AiohttpSessionEncryptedCookie"]


class AiohttpSessionEncryptedCookie(Source):
    """Sessions of ``aiohttp_session.cookie_storage.EncryptedCookieStorage``. Needs the extra ``arrivals``.

    Nobody can delete a cookie that somebody copied: until ``max_age`` is over, each one that was ever handed out and
    did not arrive yet leads to a session with the values that it holds, as it did before.

    :param key: the ``secret_key`` that the storage was given: a ``Fernet``, its key as text, or 32 bytes.
    :param max_age: likewise. In seconds, or a ``timedelta``; ``None``: cookies never end, and what is kept of each that
        has arrived, so that it arrives once, stays in the store for ever.
    :param cookie_name: likewise.
    :param owner: the key of the value that names the user, such as ``"user_id"``: sessions that have it arrive bound.
    :raises ValueError: for anything else.
    """

    removes = False

    def __init__(
        self,
        key: str | bytes | bytearray | Fernet,
        *,
        max_age: timedelta | float | None,
        cookie_name: str = "AIOHTTP_SESSION",
        owner: str | None = None,
    ) -> None:
        super().__init__(cookie_name=cookie_name, max_age=max_age, owner=owner)
        try:
            from cryptography.fernet import InvalidToken
        except ImportError as error:
            raise ImportError(
                "AiohttpSessionEncryptedCookie needs cryptography: pip install 'aiohttp-spry-session[arrivals]'",
                name="cryptography",
            ) from error
        self._invalid: type[Exception] = InvalidToken
        self._fernet = _read_key(key)

    async def find(self, value: str, now: float) -> OldSession | None:
        token = value.encode()
        try:
            if self.max_age is None:
                data, ends_at = self._fernet.decrypt(token), None
            else:
                data = self._fernet.decrypt_at_time(token, int(self.max_age), int(now))
                ends_at = self._fernet.extract_timestamp(token) + self.max_age
        except self._invalid:
            return None
        # Of one token there are many texts: what is not base64 in it is passed over.
        value = base64.urlsafe_b64encode(base64.urlsafe_b64decode(token)).decode()
        return read_old(value, data, max_age=self.max_age, now=now, ends_at=ends_at)

    async def remove(self, value: str) -> None:
        """Nobody can: its claim alone keeps it from arriving again."""


def _read_key(key: object) -> Fernet:
    """Return what decrypts, as ``EncryptedCookieStorage`` reads its key; no message repeats one."""
    from cryptography.fernet import Fernet

    if isinstance(key, Fernet):
        return key
    if isinstance(key, bytes | bytearray):
        key = base64.urlsafe_b64encode(key)
    if isinstance(key, bytes | str):
        try:
            return Fernet(key)
        except ValueError:
            pass
    raise ValueError(
        "key must be the secret_key that EncryptedCookieStorage was given: 32 bytes, a Fernet key as text "
        f"(44 characters of base64url), or a Fernet; this is another {type(key).__name__}"
    )
