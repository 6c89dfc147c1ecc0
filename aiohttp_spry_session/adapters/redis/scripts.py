"""What the Redis server does in one step. Each script touches the one key that it is given.

Times are big-endian doubles, so that no digit is lost; a time to live is in milliseconds, empty for none. A *lease* is
the server's time, in seconds, at which the caller prepared its write elsewhere; empty where nothing was to be prepared.
A write whose lease has run out changes nothing: by then others may have undone the preparation.
"""

from __future__ import annotations

import hashlib
from typing import Final

from .records import FORMAT, HEADER, LIVE, PENDING, RETIRED

__all__ = [
    "ACTIVATE",
    "BE_INDEXED",
    "CREATE",
    "DESTROY",
    "DONE",
    "INDEX",
    "INDEX_HEAL",
    "INDEX_LIST",
    "IS_PENDING",
    "LEASE_SECONDS",
    "REFUSED",
    "RENEW",
    "UPDATE",
    "Script",
]

LEASE_SECONDS: Final = 30
"""How long a prepared write may take. The clocks of a cluster's nodes have to agree better than this."""

REFUSED: Final = 0
DONE: Final = 1
BE_INDEXED: Final = 2
"""Nothing changed: the owner's index has to know of the session's (new) end first."""
IS_PENDING: Final = 3
"""Nothing changed: the record is live only if its rotation happened, which is to be found out first."""


class Script:
    """A Lua script, and the name that the server knows it by."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


# Pieces of text, not functions: a script that defines functions makes them anew in every call, for a fifth of its time.
_READ_HEADER = f"""
local head = redis.call('GETRANGE', KEYS[1], 0, 42)
local format, state, has_owner, version, created, ends, indexed, owner_size = 0
if #head == 43 then
    format, state, has_owner, version, created, ends, indexed, owner_size = struct.unpack('{HEADER}', head)
end
"""
_READABLE = f"format == {FORMAT}"
_RUN_OUT = f"(lease ~= '' and tonumber(redis.call('TIME')[1]) - tonumber(lease) > {LEASE_SECONDS})"
_OWNER = "redis.call('GETRANGE', KEYS[1], 43, 42 + owner_size)"
_SET = "if ttl == '' then redis.call('SET', KEYS[1], value) else redis.call('SET', KEYS[1], value, 'PX', ttl) end"
_SET_TTL = "if ttl == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ttl) end"

CREATE: Final = Script(f"""
local now, value, ttl, lease = struct.unpack('>d', ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
{_READ_HEADER}
if #head > 0 and not ({_READABLE} and ends <= now) then return {REFUSED} end
if {_RUN_OUT} then return {BE_INDEXED} end
{_SET}
return tonumber(redis.call('TIME')[1])
""")
"""Arguments: now, the record, its time to live, the lease of its index entry. Returns the server's time, if stored."""

UPDATE: Final = Script(f"""
local now, value, ttl, lease = struct.unpack('>d', ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
{_READ_HEADER}
local _, _, new_has_owner, new_version, _, new_ends, new_indexed, new_owner_size = struct.unpack('{HEADER}', value)
if not ({_READABLE}) or version ~= new_version - 1 or ends <= now or state == {RETIRED} then return {REFUSED} end
if state == {PENDING} then return {IS_PENDING} end
if {_RUN_OUT} then return {BE_INDEXED} end
if new_has_owner == 1 then
    if has_owner == 1 and indexed > new_indexed and {_OWNER} == string.sub(value, 44, 43 + new_owner_size) then
        value = string.sub(value, 1, 27) .. struct.pack('>d', indexed) .. string.sub(value, 36)
        new_indexed = indexed
    end
    if new_ends > new_indexed then return {BE_INDEXED} end
end
{_SET}
return {DONE}
""")
"""Arguments: now, the next record, its time to live, the lease of its preparation."""

RENEW: Final = Script(f"""
local now, new_ends, ttl = struct.unpack('>d', ARGV[1]), struct.unpack('>d', ARGV[2]), ARGV[3]
local new_indexed, lease = struct.unpack('>d', ARGV[4]), ARGV[5]
{_READ_HEADER}
if not ({_READABLE}) or ends <= now or state == {RETIRED} then return {{{REFUSED}}} end
if state == {PENDING} then return {{{IS_PENDING}}} end
indexed = math.max(indexed, new_indexed)
local moves = new_ends > ends
if has_owner == 1 and moves and (new_ends > indexed or {_RUN_OUT}) then return {{{BE_INDEXED}, {_OWNER}}} end
redis.call('SETRANGE', KEYS[1], 3, struct.pack('>dddd', version + 1, created, math.max(new_ends, ends), indexed))
if moves then {_SET_TTL} end
return {{{DONE}}}
""")
"""Arguments: now, the new end, its time to live, until when the session is indexed, the lease of that."""

ACTIVATE: Final = Script(f"""
local ttl, lease = ARGV[1], ARGV[2]
{_READ_HEADER}
if not ({_READABLE}) or state ~= {PENDING} then return {DONE} end
if {_RUN_OUT} then return {REFUSED} end
redis.call('SETRANGE', KEYS[1], 1, '\\{LIVE}')
{_SET_TTL}
return {DONE}
""")
"""Arguments: the time to live, the lease of the reservation. What is not pending any more stays as it is."""

DESTROY: Final = Script("return redis.call('DEL', KEYS[1])")

INDEX: Final = Script("""
local handle, ttl, age = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local left = redis.call('PTTL', KEYS[1])
redis.call('ZADD', KEYS[1], now, handle)
if ttl == '' then
    redis.call('PERSIST', KEYS[1])
elseif left ~= -1 and left < tonumber(ttl) then
    redis.call('PEXPIRE', KEYS[1], ttl)
end
return {now, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now - age, 'WITHSCORES', 'LIMIT', 0, 8)}
""")
"""Arguments: the handle, the least time to live of the index, the age in seconds from which an entry is worth a look.

Returns the server's time, and a few such entries, the oldest, each with its score."""

INDEX_LIST: Final = Script("return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')")
"""Returns every entry with its score, which is when it was written."""

INDEX_HEAL: Final = Script("""
local now, age = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1])
for i = 2, #ARGV, 3 do
    local handle, score, is_gone = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1'
    if tonumber(redis.call('ZSCORE', KEYS[1], handle) or '-1') == score and score < now - age then
        if is_gone then redis.call('ZREM', KEYS[1], handle) else redis.call('ZADD', KEYS[1], now, handle) end
    end
end
return 1
""")
"""Arguments: the least age of what may be removed; then of each entry the handle, the score that it had before its
session was looked at, and ``1`` if that is gone. The others are marked as just seen, so that others have their turn.

A younger entry may be one whose session is about to be written."""
