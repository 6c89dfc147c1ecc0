"""A failover behind an address, such as a DNS name or a balancer: what one connection learns counts for both."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, MasterDownError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session import AdapterError, SessionManager, SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.adapters.redis.failures import is_demoted, is_lost
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import opened
from tests.servers.redis import RedisServer

from .proxy import LossyProxy

MakeRecord = Callable[..., SessionRecord]


def server(*arguments: str) -> Iterator[RedisServer]:
    server = RedisServer(*arguments)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def first(_guardian: None) -> Iterator[RedisServer]:
    """The master at the beginning."""
    yield from server("--repl-diskless-sync-delay", "0")


@pytest.fixture
def second(first: RedisServer) -> Iterator[RedisServer]:
    """A copy of it."""
    for replica in server("--replicaof", first.host, str(first.port)):
        while b"master_link_status:up" not in replica.call("INFO replication"):
            pass
        yield replica


@pytest.fixture
async def address(first: RedisServer) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(first) as proxy:
        yield proxy


@pytest.fixture
async def adapter(address: LossyProxy, prefix: str, clock: FakeClock) -> AsyncIterator[RedisSessionAdapter]:
    """An adapter that knows the address only."""
    async with opened(RedisSessionAdapter(address.url, prefix=prefix), clock) as adapter:
        yield adapter


@pytest.fixture
async def elsewhere(second: RedisServer, prefix: str, clock: FakeClock) -> AsyncIterator[RedisSessionAdapter]:
    """One on another machine, which is at the new master already."""
    async with opened(RedisSessionAdapter(second.url, prefix=prefix), clock) as adapter:
        yield adapter


async def fail_over(first: RedisServer, second: RedisServer) -> None:
    """Let the second be the master; the first is a replica of nobody, so what it has is out of date."""
    async with Redis.from_url(first.url) as old, Redis.from_url(second.url) as new:
        assert await old.wait(1, 5000) == 1
        await new.replicaof("NO", "ONE")
        await old.replicaof("127.0.0.1", "1")


@pytest.fixture
async def moved(
    adapter: RedisSessionAdapter,
    first: RedisServer,
    second: RedisServer,
    elsewhere: RedisSessionAdapter,
    record: MakeRecord,
) -> RedisSessionAdapter:
    """The adapter, still connected to the old master, where it reads what was changed or removed at the new one."""
    for handle in ("h", "gone"):
        assert await adapter.create(handle, record())
    await fail_over(first, second)
    assert await elsewhere.update("h", record(2))
    assert await elsewhere.destroy("gone")
    assert await adapter.load("h") == record(), "nobody can know yet"
    return adapter


async def test_reads_move_with_a_refused_write(
    moved: RedisSessionAdapter, address: LossyProxy, second: RedisServer, record: MakeRecord
) -> None:
    """The write that is refused is the last sign of the old master: what was ended is gone, what is new is there."""
    address.server = second
    with pytest.raises(ResponseError, check=is_demoted):
        await moved.update("h", record(2))
    assert await moved.load("h") == record(2)
    assert await moved.load("gone") is None
    assert await moved.update("h", record(3))


async def test_nobody_reads_from_a_replica_that_the_address_still_leads_to(
    moved: RedisSessionAdapter, address: LossyProxy, second: RedisServer, record: MakeRecord, clock: FakeClock
) -> None:
    """The address follows later: until then every use fails, and no stale session is served."""
    with pytest.raises(ResponseError, check=is_demoted):
        await moved.update("h", record(2))
    manager = SessionManager(moved, clock=clock)
    for _ in range(2):
        for handle in ("h", "gone"):
            with pytest.raises(ReadOnlyError):
                await moved.load(handle)
        with pytest.raises(ReadOnlyError):
            await moved.destroy("h")
        with pytest.raises(AdapterError):
            await manager.revoke("h")
    address.server = second
    assert await moved.load("h") == record(2)
    assert await moved.update("h", record(3))


async def test_writes_move_with_a_refused_read(
    moved: RedisSessionAdapter, address: LossyProxy, first: RedisServer, second: RedisServer, record: MakeRecord
) -> None:
    """A replica that does not answer without its master (``MASTERDOWN``) tells the reads first."""
    first.call("CONFIG SET replica-serve-stale-data no")
    with pytest.raises(MasterDownError):
        await moved.load("h")
    address.server = second
    assert await moved.update("h", record(3)), "at once: no write is lost on the old connection"
    assert await moved.load("h") == record(3)


async def test_reads_move_with_a_lost_connection(
    moved: RedisSessionAdapter, address: LossyProxy, second: RedisServer, record: MakeRecord
) -> None:
    """A connection that is cut may be all that anybody is told of a failover."""
    address.server = second
    address.marker = scripts.UPDATE.sha
    with pytest.raises(LostConnectionError):
        await moved.update("h", record(9))
    address.marker = None
    assert await moved.load("h") == record(2)


async def test_no_way_to_connect_counts_for_both(
    moved: RedisSessionAdapter, address: LossyProxy, second: RedisServer, record: MakeRecord
) -> None:
    """Also where nothing could be sent."""
    await moved._kept.connections._pipes.writes.close()  # type: ignore[attr-defined]
    address.server = None
    with pytest.raises(LostConnectionError):
        await moved.update("h", record(2))
    address.server = second
    assert await moved.load("h") == record(2)


async def test_a_start_at_a_replica_waits_for_the_master(
    second: RedisServer, first: RedisServer, prefix: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that starts during a failover goes on once it is over."""
    async with (
        LossyProxy(second) as address,
        opened(RedisSessionAdapter(address.url, prefix=prefix), clock) as adapter,
    ):
        (entry,) = caplog.records
        assert entry.levelno == logging.WARNING
        assert entry.getMessage().startswith("the session store does not answer yet (ReadOnlyError): ")
        with pytest.raises(ReadOnlyError):
            await adapter.load("h")
        address.server = first
        assert await adapter.load("h") is None


@pytest.fixture
def secured(_guardian: None) -> Iterator[RedisServer]:
    """A server that wants a password."""
    for secured in server("--requirepass", "s3cret"):
        yield secured
        secured.kill()  # without the password it cannot be asked to go


async def test_who_is_not_known_any_more_says_so_again(
    secured: RedisServer, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """A connection that is answered ``NOAUTH`` is not kept, and neither is the other one."""
    async with (
        LossyProxy(secured) as address,
        opened(RedisSessionAdapter(address.url.replace("://", "://:s3cret@"), prefix=prefix), clock) as adapter,
    ):
        assert await adapter.create("h", record())
        for operation, answer in (("load", record()), ("destroy", True)):
            address.forget()
            with pytest.raises(AuthenticationError):
                await adapter.load("h")
            assert await getattr(adapter, operation)("h") == answer
            assert await adapter.load("other") is None


REDIS_6 = (
    "Error running script (call to f_51f3347e7722f2763189fbb4ecafc393a4f09acf): @user_script:26: "
    "@user_script: 26: -READONLY You can't write against a read only replica. "
)


@pytest.mark.parametrize(
    ("error", "demoted", "lost"),
    [
        (ReadOnlyError("x"), True, True),
        (MasterDownError("x"), True, True),
        (ResponseError(REDIS_6), True, True),
        (ResponseError("READONLY in a value"), False, False),
        (ResponseError("WRONGTYPE x"), False, False),
        (LostConnectionError("x"), False, True),
        (AuthenticationError("x"), False, True),
        (TimeoutError("x"), False, True),
        (OSError("x"), False, True),
        (ValueError(" -READONLY "), False, False),
        (b" -READONLY ", False, False),
        (None, False, False),
    ],
)
def test_what_another_connection_may_mend(error: object, *, demoted: bool, lost: bool) -> None:
    """What a demoted server says, Redis 6 from within a script too; and what says that nobody is there."""
    assert (is_demoted(error), is_lost(error)) == (demoted, lost)
