"""An adapter that takes what is declared, and nothing else."""

from __future__ import annotations

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionRecord
from aiohttp_spry_session.record import successor_of

KINDS = {
    "payload": (bytes,),
    "version": (int,),
    "created_at": (float,),
    "expires_at": (float, type(None)),
    "owner": (str, type(None)),
    "retired": (bool,),
}


def check(*names: object, record: SessionRecord | None = None) -> None:
    """Refuse a handle or an owner that is no text, a field of another kind, and a retired record that leads nowhere."""
    wrong = [name for name in names if type(name) is not str]
    if record is not None:
        wrong += [field for field, kinds in KINDS.items() if type(getattr(record, field)) not in kinds]
        wrong += ["successor"] if record.retired and successor_of(record) is None else []
    if wrong:
        raise TypeError(f"not what is declared: {wrong}")


class StrictAdapter(MemorySessionAdapter):
    """Refuses whatever its author may rely on never to be handed."""

    async def load(self, handle):
        check(handle)
        return await super().load(handle)

    async def create(self, handle, record):
        check(handle, record=record)
        return await super().create(handle, record)

    async def update(self, handle, record):
        check(handle, record=record)
        return await super().update(handle, record)

    async def destroy(self, handle):
        check(handle)
        return await super().destroy(handle)

    async def renew(self, handle, expires_at):
        check(handle)
        if expires_at is not None and expires_at <= self.clock():
            raise ValueError("a renewal ends in the future")
        return await super().renew(handle, expires_at)

    async def rotate(self, old, new, record, retired):
        check(old, new, record=record)
        check(record=retired)
        if (retired.retired, retired.version, retired.owner) != (True, record.version, None):
            raise TypeError("a retired record is of the version of the one that lives on, and nobody's")
        return await super().rotate(old, new, record, retired)

    async def find(self, owner):
        check(owner)
        return await super().find(owner)


class StrictWithoutIndex(StrictAdapter):
    """Finds no owners either."""

    async def find(self, owner):
        check(owner)
        return await SessionAdapter.find(self, owner)
