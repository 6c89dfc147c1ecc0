"""Steal this session: what a copy of the cookies is worth, over HTTP and, bound to a device, over HTTPS."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.dbsc import SoftwareDevice
from demo import steal
from demo.accounts import ACCOUNTS, Account, Accounts
from demo.app import create_app
from demo.certificates import Certificates, make_certificates, server_context
from demo.settings import Settings

from ..support import WatchedAdapter
from .conftest import CHEAP_HASH, NewVisitor, Visitor

JSON = {"Accept": "application/json", "Sec-Fetch-Site": "same-origin"}


async def test_over_http_a_copy_works(visitor: Visitor) -> None:
    """As long as the session lives, and no longer."""
    await visitor.sign_in()
    assert (await visitor.data("/steal"))["seen_as"] is None
    await visitor.post("/steal/take")
    data = await visitor.data("/steal")
    assert (data["seen_as"], data["device"]) == ("Ada", "unbound")
    text = await (await visitor.get("/steal")).text()
    assert "signed in as Ada" in text
    assert visitor.cookies()["demo_session"] not in text
    await visitor.post("/sign-out")
    await visitor.sign_in()
    assert (await visitor.data("/steal"))["seen_as"] is None
    await visitor.post("/steal/drop")
    assert (await visitor.data("/steal"))["taken_at"] is None


async def test_only_who_is_signed_in_sees_a_copy(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """Their own one."""
    await visitor.sign_in()
    await visitor.post("/steal/take")
    other = await new_visitor()
    assert (await other.get("/steal")).status == 303
    await other.sign_in("grace")
    assert (await other.data("/steal"))["taken_at"] is None


async def test_copies_are_not_kept_for_ever(visitor: Visitor, app: web.Application, monkeypatch: Any) -> None:
    """Beyond a number the oldest goes."""
    monkeypatch.setattr(steal, "MAX_COPIES", 1)
    app[steal.COPIES]["grace"] = steal.Copy("", steal.datetime.now(steal.UTC))
    await visitor.sign_in()
    await visitor.post("/steal/take")
    assert list(app[steal.COPIES]) == ["ada"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


async def test_a_bound_copy_is_worthless_minutes_later(
    adapter: WatchedAdapter, certificates: Certificates, clock: FakeClock
) -> None:
    """The thief is signed in, and then nobody, while the customer goes on; the list of devices says what is bound."""
    app = create_app(Settings(adapter=adapter, https=True, certificates=certificates, clock=clock))
    app[ACCOUNTS] = Accounts({"ada": Account("ada", "Ada", CHEAP_HASH)})
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=server_context(certificates))
    client: TestClient[Any, Any] = TestClient(server, cookie_jar=CookieJar(unsafe=True, quote_cookie=False))
    client._session._connector._ssl = False
    try:
        device = SoftwareDevice(client, clock=clock)
        credentials = {"name": "ada", "password": "secret"}
        assert (await device.post("/sign-in", json=credentials, headers=JSON)).status == 200
        clock.advance(20)
        assert (await device.post("/steal/take", headers=JSON)).status == 200
        for advance, seen_as in ((0, "Ada"), (300, "Ada"), (10, None), (1000, None)):
            clock.advance(advance)
            data = await (await device.get("/steal", headers=JSON)).json()
            assert (data["seen_as"], data["device"], data["worth_seconds"]) == (seen_as, "bound", 330)
        (listed,) = (await (await device.get("/devices", headers=JSON)).json())["devices"]
        assert listed["bound_at"] is not None
        page = await (await device.get("/devices", headers={"Accept": "text/html"})).text()
        assert "its cookies work nowhere else" in page
        response = await device.get("/", headers=JSON)
        assert "Strict-Transport-Security" not in response.headers
    finally:
        await client.close()


async def test_the_certificate_is_trusted_by_who_trusts_its_authority(
    certificates: Certificates, app: web.Application
) -> None:
    """And by nobody else; it is made once, and its key is for its owner's eyes."""
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=server_context(certificates))
    try:
        trusting = steal.ssl.create_default_context(cafile=certificates.authority)
        async with ClientSession() as client:
            for host in ("localhost", "127.0.0.1"):
                url = f"https://{host}:{server.port}/steal/whoami"
                async with client.get(url, ssl=trusting) as response:
                    assert await response.json() == {"account": None}
                with pytest.raises(steal.ssl.SSLError, match="unable to get local issuer"):
                    await client.get(url)
    finally:
        await server.close()
    before = certificates.certificate.read_bytes()
    assert make_certificates(certificates.key.parent) == certificates
    assert certificates.certificate.read_bytes() == before
    assert certificates.key.stat().st_mode & 0o077 == 0
    certificates.certificate.write_bytes(b"no certificate")
    make_certificates(certificates.key.parent)
    assert certificates.certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
