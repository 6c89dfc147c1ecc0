"""An adapter that seals each record before another one keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from hmac import compare_digest

from ...adapter import SessionAdapter
from ...events import logger
from ...exceptions import AdapterError
from ...options import read_flag
from ...record import SessionRecord
from ..wrapping import WrappingAdapter, within
from .keys import read_keys
from .seals import BrokenSealError, is_sealed, seal, unseal

__all__ = ["SealedAdapter"]

_CANARY = "spry-session-canary"
_ATTEMPTS = 8


class SealedAdapter(WrappingAdapter):
    """Seals each record before another adapter keeps it: who can write to that store cannot make or change a session.

    Each payload is encrypted and authenticated with AES-256-GCM, and the seal covers all the rest of the record: its
    handle, version, times, owner, and whether and where it was rotated. So nobody without a key can read, forge,
    extend, exchange, re-own or redirect a session. What is left to who can write to the store is to delete one, or to
    put an older whole record back in its own place. A record whose seal is broken is corrupt: it is logged, and absent.

    Since the seal covers the end, a renewal is a load and an update. A record in the store, the *canary*, tells whether
    a key is right before a session is looked at; it is never counted or listed.

    :param adapter: the adapter that keeps what is sealed.
    :param keys: one or more keys of 32 bytes, or their base64 text, as :func:`generate_key` makes them. The first one
        seals, all of them open. What an older one sealed is sealed anew with its next change.
    :param hide_owners: keep a keyed hash in the place of each owner. ``find`` looks for both, so that it can be turned
        on and off while the site runs.
    :param accept_unsealed: take a record that is not sealed as it is. For the time in which a store is moved to sealed
        records: until then, who can write to the store can forge sessions by not sealing them.
    :raises ValueError: for an unusable option, a key that has not 256 bits, and around another ``SealedAdapter`` with
        one of the same keys.
    """

    def __init__(
        self,
        adapter: SessionAdapter,
        keys: bytes | str | Sequence[bytes | str],
        *,
        hide_owners: bool = False,
        accept_unsealed: bool = False,
    ) -> None:
        super().__init__(adapter)
        self.hide_owners = read_flag("hide_owners", hide_owners)
        self.accept_unsealed = read_flag("accept_unsealed", accept_unsealed)
        keys_in_order = read_keys(keys)
        self._key = keys_in_order[0]
        self._keys = {key.id: key for key in keys_in_order}
        sealed_inside = [inner for inner in within(adapter) if isinstance(inner, SealedAdapter)]
        if any(self._keys.keys() & inner._keys.keys() for inner in sealed_inside):  # noqa: SLF001 - of the same class
            raise ValueError("these records are sealed with one of these keys already: once is enough")
        self._canary = f"{_CANARY}-{len(sealed_inside)}" if sealed_inside else _CANARY
        self._key_is_right = False

    async def load(self, handle: str) -> SessionRecord | None:
        if not self._key_is_right:
            await self._look_at_the_canary("load")
        record = await self.adapter.load(handle)
        return None if record is None else self._unsealed(handle, record)

    async def create(self, handle: str, record: SessionRecord) -> bool:
        if not self._key_is_right:
            await self._look_at_the_canary("create")
        return await self.adapter.create(handle, self._sealed(handle, record))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self.adapter.update(handle, self._sealed(handle, record))

    async def destroy(self, handle: str) -> bool:
        return handle != self._canary and await self.adapter.destroy(handle)

    renew = SessionAdapter.renew

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await self.adapter.rotate(old, new, self._sealed(new, record), self._sealed(old, retired))

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        if not self._key_is_right:
            await self._look_at_the_canary("find")
        hashes = [key.hidden(owner) for key in reversed(self._keys.values())]
        names = [owner, *hashes] if self.hide_owners else [*hashes, owner]
        found: dict[str, SessionRecord] = {}
        # One after the other, and last the one that is written now: what is sealed anew meanwhile is missed by neither.
        for name in names:
            for handle, record in (await self.adapter.find(name)).items():
                opened = self._unsealed(handle, record)
                if opened is not None and opened.owner == owner:
                    found[handle] = opened
        return found

    def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self._opened(self.adapter.scan())

    def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self._opened(self.adapter.scan_all())

    async def _opened(
        self, records: AsyncIterator[tuple[str, SessionRecord]]
    ) -> AsyncIterator[tuple[str, SessionRecord]]:
        if not self._key_is_right:
            await self._look_at_the_canary("scan")
        async for handle, record in records:
            opened = self._unsealed(handle, record)
            if opened is not None:
                yield handle, opened

    async def open(self) -> None:
        """Open the adapter behind this one, and look whether the keys are right.

        Where the store does not answer yet that is made up for before a session is looked at.

        :raises AdapterError: where none of the keys is the one that this store was sealed with.
        """
        await super().open()
        self._key_is_right = False
        try:
            await self._look_at_the_canary("open")
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, WrongKeyError):
                logger.warning("the sealed session store does not answer yet (%s)", type(error).__name__)
                return
            await super().close()
            raise

    def _sealed(self, handle: str, record: SessionRecord) -> SessionRecord:
        return seal(self._key, handle, record, hide_owner=self.hide_owners)

    def _unsealed(self, handle: str, record: SessionRecord) -> SessionRecord | None:
        """Return the record that was sealed; ``None``, once the log knows of it, where the seal is broken."""
        if self.accept_unsealed and not is_sealed(record):
            return None if handle == self._canary else record
        try:
            return unseal(self._keys, handle, record)
        except BrokenSealError as error:
            if handle != self._canary:
                logger.error("the stored session %r is corrupt and counts as absent: %s", handle, error)
            return None

    async def _look_at_the_canary(self, operation: str) -> None:
        """Make sure that the store is sealed with one of the keys, and note there which one seals now.

        The canary is a retired record, so that nobody counts or lists it, and has no end. It holds what is derived from
        the key for this alone, and gives nothing of it away.
        """
        for _ in range(_ATTEMPTS):
            stored = await self.adapter.load(self._canary)
            if stored is not None:
                if compare_digest(stored.payload, self._key.canary):
                    break
                if not any(compare_digest(stored.payload, key.canary) for key in self._keys.values()):
                    raise WrongKeyError(
                        operation,
                        "none of the keys is the one that this store was sealed with: add that key to the others, "
                        "or begin with an empty store",
                    )
                await self.adapter.destroy(self._canary)
            canary = SessionRecord(self._key.canary, 1, self.clock(), None, retired=True)
            if await self.adapter.create(self._canary, canary):
                break
        self._key_is_right = True


class WrongKeyError(AdapterError):
    """None of the keys is the one that the store was sealed with."""
