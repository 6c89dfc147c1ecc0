"""What the Redis server does in one step, and how the steps of an operation depend on each other.

Each script touches the one key that it is given. Times are big-endian doubles, so that no digit is lost; a time to live
is in milliseconds, empty for none. What a session takes of more than one key is a dialogue of the adapter, these
scripts and the index of owners. This is all of it.

A key is in one of these states:

========= ======================================= ====================================================================
state     is a session                            becomes
========= ======================================= ====================================================================
no key    no                                      LIVE by CREATE; PENDING by CREATE, as the new handle of a rotation
PENDING   if the origin's key is RETIRED, and its LIVE by ACTIVATE, which whoever has seen that runs; nothing by DESTROY
          link leads here: then only
LIVE      yes                                     LIVE by UPDATE and RENEW; RETIRED by UPDATE; nothing by DESTROY
RETIRED   no; it says where the session went, if  nothing by DESTROY, or with its time
          it was rotated
========= ======================================= ====================================================================

And these are the answers:

============ ============================== =========================================================================
answer       says                           then
============ ============================== =========================================================================
REFUSED      no such record, of such a      the operation is ``False``
             version; for CREATE: the
             handle is taken
DONE         it has happened                the operation is ``True``; CREATE answers the server's time instead,
                                            which is the lease of what follows
BE_INDEXED   nothing changed: the owner's   INDEX the session, then the same again with the lease that INDEX
             index does not know of this    answered; where no owner is to be told, a rotation came too late,
             end yet, or the lease has run  and is ``False``
             out
IS_PENDING   nothing changed: another key   read the origin; ACTIVATE, and the same again, or it is ``False``.
             has to say whether this is a   Only DESTROY is told to remove what was no session
             session
============ ============================== =========================================================================

A *lease* is the server's time, in seconds, at which the caller prepared its write at another key; empty where nothing
was to be prepared. A write that comes more than ``LEASE_SECONDS`` later changes nothing: by then others may have undone
the preparation, and they do so no earlier than twice that time after it. There are two such pairs. An entry in an index
is written before its session, and removed only when it is old and its session is gone. A new handle is reserved
(PENDING) before the old one is retired, and the reservation is removed only when it is old and was not made use of.

A rotation is CREATE (new, PENDING) - UPDATE (old, RETIRED) - ACTIVATE (new, LIVE) - RELEASE (old). The second step is
the one moment at which everybody sees it. A reservation has the session's whole life, and the retired key too, until
RELEASE: so whatever is lost after the second step, and for however long, the next one who looks finds it all.

What ends a session, a rotation included, is told on one channel, so that open sockets and streams end at once; what
only writes is not. Nothing depends on it.

What ends a session needs no room. On a server that is full (``maxmemory``, ``noeviction``) a script may go on when its
first write takes no memory, on Redis 6 and 7 alike (https://redis.io/docs/latest/develop/programmability/eval-intro/,
on memory limits). So UPDATE to RETIRED, and ACTIVATE, which ending may need, begin with such a write.
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
    "RELEASE",
    "RENEW",
    "UPDATE",
    "Script",
]

LEASE_SECONDS: Final = 30
"""How long a prepared write may take. The clocks of a cluster's nodes have to agree better than this."""

REFUSED: Final = 0
DONE: Final = 1
BE_INDEXED: Final = 2
IS_PENDING: Final = 3


class Script:
    """A Lua script, and the name that the server knows it by."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


# Pieces of text, not functions: a script that defines functions makes them anew in every call, for a fifth of its time.
_READ_HEADER = f"""
local head = redis.call('GETRANGE', KEYS[1], 0, 42)
local format, state, has_owner, version, created, ends, indexed, owner_size, link_size = 0
if #head == 43 then
    format, state, has_owner, version, created, ends, indexed, owner_size, link_size = struct.unpack('{HEADER}', head)
    if version % 1 ~= 0 or created - created ~= 0 or ends ~= ends or indexed ~= indexed or state > {PENDING} then
        format = 0
    end
end
"""
_READABLE = f"format == {FORMAT}"
_RUN_OUT = f"(lease ~= '' and tonumber(redis.call('TIME')[1]) - tonumber(lease) > {LEASE_SECONDS})"
_OWNER = "redis.call('GETRANGE', KEYS[1], 43, 42 + owner_size)"
_SET = "if ttl == '' then redis.call('SET', KEYS[1], value) else redis.call('SET', KEYS[1], value, 'PX', ttl) end"
_SET_TTL = "if ttl == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ttl) end"

_NEEDS_NO_ROOM = "redis.call('PERSIST', KEYS[1])"
"""Changes nothing that is not set anew after it."""

_TELL = "if ARGV[{0}] then redis.pcall('PUBLISH', ARGV[{0}], KEYS[1]) end"
"""Tells whoever listens that what was kept at the key has ended. It needs no room. A user who may not ends the session
all the same: nobody looks at what this fails with."""

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
local _, new_state, new_has_owner, new_version, _, new_ends, new_indexed, new_owner_size =
    struct.unpack('{HEADER}', value)
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
if new_state == {RETIRED} then {_NEEDS_NO_ROOM} end
{_SET}
if new_state == {RETIRED} then {_TELL.format(5)} end
return {DONE}
""")
"""Arguments: now, the next record, its time to live, the lease of its preparation; for a retired record, the channel
that is told."""

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
local ttl = ARGV[1]
{_READ_HEADER}
if not ({_READABLE}) or state ~= {PENDING} then return {DONE} end
{_SET_TTL}
redis.call('SETRANGE', KEYS[1], 1, '\\{LIVE}')
return {DONE}
""")
"""Argument: the time to live. What is not pending any more stays as it is."""

RELEASE: Final = Script(f"""
local ttl, link = tonumber(ARGV[1]), ARGV[2]
{_READ_HEADER}
if not ttl or not ({_READABLE}) or state ~= {RETIRED} then return {REFUSED} end
if redis.call('GETRANGE', KEYS[1], 43 + owner_size, 42 + owner_size + link_size) ~= link then return {REFUSED} end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return {DONE}
""")
"""Arguments: the time to live, the handle whose confirmation the retired record was kept for."""

DESTROY: Final = Script(f"""
local now, even_pending = struct.unpack('>d', ARGV[1]), ARGV[2]
{_READ_HEADER}
local is_there = {_READABLE} and ends > now
if is_there and state == {PENDING} then
    if even_pending == '' then return {IS_PENDING} end
    is_there = false
end
redis.call('DEL', KEYS[1])
if is_there then {_TELL.format(3)} end
return is_there and {DONE} or {REFUSED}
""")
"""Arguments: now, whether a reservation goes too, the channel that is told. ``DONE`` where a live or retired record was
there."""

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
