"""Who may sign in, and how their passwords are kept and checked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

__all__ = ["ACCOUNTS", "DEMO_CREDENTIALS", "Account", "Accounts", "hash_password", "setup"]

# scrypt at the strength that OWASP recommends for 16 MiB a computation.
LOG2_N, R, P = 14, 8, 5
MAX_PASSWORD_LENGTH = 200
PARALLEL_HASHES = 2


@dataclass(frozen=True, slots=True)
class Account:
    """A customer."""

    id: str
    name: str
    password_hash: str


# The one thing not to copy: a real site shows no passwords.
DEMO_CREDENTIALS = (("ada", "analytical engine"), ("grace", "flow-matic"))

CUSTOMERS = {
    "ada": Account(
        "ada",
        "Ada",
        "scrypt$14$8$5$BAwRdnySrvXUUwfgA3nx/Q==$"
        "Psk9pghlIQqEoiINHO0SudV8TXciiE1QoK078h8nJs0qwpIrsrB+Vs86qliD08iNfYVyoMBckzIg35YpZKe3Mw==",
    ),
    "grace": Account(
        "grace",
        "Grace",
        "scrypt$14$8$5$PVZQJKvVujHkEzN2Cc14Cw==$"
        "AZuzyaXhikEe1/pBOttH2yNF36MlJFfe0pTN6BBtVbwjU0z6b+3ooYZqOBIpk5+rH/Gtfv+dhQ7OWBS1EQCIBg==",
    ),
}


class Accounts:
    """The customers of the shop."""

    def __init__(self, customers: Mapping[str, Account]) -> None:
        self._customers = customers
        # Each computation takes memory and a core: a flood of sign-ins has to queue.
        self._slots = asyncio.Semaphore(PARALLEL_HASHES)

    def get(self, account_id: str | None) -> Account | None:
        """Return the account with this id."""
        return None if account_id is None else self._customers.get(account_id)

    async def verify(self, name: str, password: str) -> Account | None:
        """Return the account if the password is right.

        An unknown name takes as long as a wrong password, so that the time tells nobody which names exist.
        """
        account = self._customers.get(name.strip().lower())
        expected = NOBODY if account is None else account.password_hash
        async with self._slots:
            matches = await asyncio.to_thread(matches_hash, password, expected)
        return account if matches else None


def hash_password(password: str) -> str:
    """Return what to keep of a password: parameters, a random salt, and the scrypt hash."""
    salt = os.urandom(16)
    return f"scrypt${LOG2_N}${R}${P}${b64encode(salt).decode()}${b64encode(scrypt(password, salt)).decode()}"


def matches_hash(password: str, stored: str) -> bool:
    """Whether a password is the one that was hashed; the comparison takes the same time wherever they differ."""
    if len(password) > MAX_PASSWORD_LENGTH:
        return False
    _, log2_n, r, p, salt, expected = stored.split("$")
    computed = scrypt(password, b64decode(salt), log2_n=int(log2_n), r=int(r), p=int(p))
    return hmac.compare_digest(computed, b64decode(expected))


def scrypt(password: str, salt: bytes, *, log2_n: int = LOG2_N, r: int = R, p: int = P) -> bytes:
    """Return the scrypt hash (RFC 7914) of a password."""
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=2**log2_n, r=r, p=p)


NOBODY = f"scrypt${LOG2_N}${R}${P}${b64encode(bytes(16)).decode()}${b64encode(bytes(64)).decode()}"

ACCOUNTS = web.AppKey("accounts", Accounts)


def setup(app: web.Application) -> None:
    """Add the accounts to the application."""
    app[ACCOUNTS] = Accounts(CUSTOMERS)
