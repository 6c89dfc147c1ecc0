"""Load on a server: wrk where it is installed, a small asyncio client of our own otherwise."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

CONNECTIONS = 32
SESSIONS = 64

_WRK_SCRIPT = """
local requests, at = {}, 0
init = function(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, {["Cookie"] = line})
  end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests": %d, "micros": %d, "p50": %d, "p99": %d, "errors": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class LoadError(RuntimeError):
    """A server did not answer as it must."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What one short stretch of load came to; latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def busy(self) -> float:
        """How much of a core the server used, from 0 to 1."""
        return self.cpu / self.seconds

    @property
    def cpu_per_request(self) -> float:
        """Processor seconds of the server a request."""
        return self.cpu / self.requests


class Client:
    """One server under load: each request carries the next of its sessions' cookies."""

    def __init__(self, port: int, directory: Path) -> None:
        self._port = port
        self._connection = HTTPConnection("127.0.0.1", port, timeout=10)
        self._directory = Path(tempfile.mkdtemp(dir=directory))
        self._cookies: list[str] = []

    def start_sessions(self) -> None:
        """Start the sessions that the load uses; a server without sessions gets cookies of the same length."""
        for number in range(SESSIONS):
            cookie = self.get("start")[1]
            self._cookies.append(cookie or f"SPRY_SESSION_ID={number:043}")
        (self._directory / "cookies").write_text("\n".join(self._cookies) + "\n")
        (self._directory / "load.lua").write_text(_WRK_SCRIPT)

    def warm_up(self, case: str, requests: int = 300, *, cookie_when_read: bool = False) -> None:
        """Send some requests one after the other, and check the answers.

        :param cookie_when_read: whether a read may write the cookie, as it does elsewhere.
        """
        for cookie in itertools.islice(itertools.cycle(self._cookies), requests):
            body, sent = self.get(case, cookie)
            if body != "ok" or (case == "read" and sent is not None and not cookie_when_read):
                raise LoadError(f"{case}: an unexpected answer, {body!r}")

    def get(self, case: str, cookie: str | None = None) -> tuple[str, str | None]:
        """Send one request; return its body and the cookie that it set."""
        self._connection.request("GET", f"/{case}", headers={} if cookie is None else {"Cookie": cookie})
        response = self._connection.getresponse()
        body = response.read().decode()
        if response.status != 200:
            raise LoadError(f"{case}: {response.status} {body}")
        sent = response.getheader("Set-Cookie")
        return body, None if sent is None else sent.partition(";")[0]

    def measure(self, case: str, seconds: float, connections: int = CONNECTIONS) -> Slice:
        """Put load on the server for so many seconds, from so many connections."""
        self._connection.close()  # it was idle, and the server may have thought so too: the next request opens it again
        before = int(self.get("cpu")[0])
        found = (
            self._wrk(case, seconds, connections)
            if shutil.which("wrk")
            else asyncio.run(self._own(case, seconds, connections))
        )
        spent = int(self.get("cpu")[0]) - before
        return Slice(found.requests, found.seconds, found.p50, found.p99, spent / 1e9)

    def close(self) -> None:
        """Close the connection of :meth:`get`."""
        self._connection.close()

    def _wrk(self, case: str, seconds: float, connections: int) -> Slice:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", "load.lua"]
        command += [f"http://127.0.0.1:{self._port}/{case}", "--", "cookies"]
        done = subprocess.run(command, cwd=self._directory, capture_output=True, text=True, check=True)
        found = json.loads(done.stderr)
        if found["errors"]:
            raise LoadError(f"{case}: {found['errors']} errors in {found['requests']} requests")
        return Slice(found["requests"], found["micros"] / 1e6, found["p50"] / 1e3, found["p99"] / 1e3)

    async def _own(self, case: str, seconds: float, connections: int) -> Slice:
        requests = itertools.cycle(
            [
                f"GET /{case} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode()
                for cookie in self._cookies
            ]
        )
        started = time.perf_counter()
        work = [self._ask(requests, started + seconds) for _ in range(connections)]
        latencies = sorted(itertools.chain.from_iterable(await asyncio.gather(*work)))
        return Slice(
            len(latencies), time.perf_counter() - started, percentile(latencies, 50), percentile(latencies, 99)
        )

    async def _ask(self, requests: Iterator[bytes], end: float) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        latencies: list[float] = []
        sent = 0.0
        while not latencies or sent < end:  # one at least, however long the machine took to come so far
            sent = time.perf_counter()
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise LoadError(head.partition(b"\r\n")[0].decode())
            await reader.readexactly(len(b"ok"))
            latencies.append((time.perf_counter() - sent) * 1e3)
        writer.close()
        await writer.wait_closed()
        return latencies


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent of the values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
