"""The command line of the demo."""

from __future__ import annotations

import argparse
import logging
import ssl
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from aiohttp_spry_session import AdapterError, adapter_from_url

from .app import create_app
from .settings import Settings

if TYPE_CHECKING:
    from .certificates import Certificates


def main() -> None:
    """Serve the demo until it is interrupted."""
    arguments = parse(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        adapter = adapter_from_url(arguments.store, expiration=timedelta(hours=8))
    except (ValueError, ImportError) as error:
        sys.exit(f"--store: {error}")
    certificates, context = make_https() if arguments.https else (None, None)
    https = arguments.https or arguments.https_behind_proxy
    settings = Settings(adapter=adapter, https=https, certificates=certificates)
    # A certificate is for names, and the name of this machine is what people type.
    host = "localhost" if arguments.https and arguments.host == "127.0.0.1" else bracketed(arguments.host)
    url = f"http{'s' if arguments.https else ''}://{host}:{arguments.port}/"

    def announce(_: object) -> None:
        sys.stdout.write(f"The shop is open at {url} (sessions: {label(arguments.store)}). Ctrl+C closes it.\n")
        if certificates is not None:
            sys.stdout.write(HOW_TO_TRUST.format(authority=certificates.authority.resolve()))
        sys.stdout.flush()

    try:
        web.run_app(
            create_app(settings),
            host=arguments.host,
            port=arguments.port,
            ssl_context=context,
            print=announce,
            shutdown_timeout=5.0,
        )
    except (AdapterError, OSError, OverflowError) as error:
        sys.exit(f"The demo cannot start: {error}")


HOW_TO_TRUST = """\
Browsers have to trust its certificate authority, which is good for this machine only, and whose key is thrown away:
  {authority}
  Chrome on Linux: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n spry-demo -i {authority}
                   (certutil is in libnss3-tools; -D -n spry-demo takes it back)
  macOS:           security add-trusted-cert -k ~/Library/Keychains/login.keychain-db {authority}
  Windows:         certutil -user -addstore Root {authority}
  Firefox:         Settings, Certificates, Import
"""


def make_https() -> tuple[Certificates, ssl.SSLContext]:
    """Return this machine's certificates, made where there are none, and what a server needs to use them."""
    try:
        from .certificates import make_certificates, server_context
    except ImportError as error:
        sys.exit(f'--https needs {error.name}: pip install "aiohttp-spry-session[dbsc]"')
    certificates = make_certificates(Path("demo-certificates"))
    return certificates, server_context(certificates)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="A small shop on aiohttp-spry-session.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="the port to listen on (%(default)s)")
    parser.add_argument(
        "--store",
        default="sqlite:///demo.db",
        metavar="URL",
        help="where sessions are kept: memory://, sqlite:///path, redis://..., postgresql://... (%(default)s)",
    )
    https = parser.add_mutually_exclusive_group()
    https.add_argument(
        "--https",
        action="store_true",
        help="serve over HTTPS with a certificate for this machine, made on the fly, and bind sessions to devices",
    )
    https.add_argument(
        "--https-behind-proxy",
        action="store_true",
        help="a proxy in front serves this over HTTPS and passes the Host header on: "
        "use a Secure cookie with the __Host- prefix, and send Strict-Transport-Security",
    )
    return parser.parse_args(arguments)


def label(store: str) -> str:
    """Return what to call a store on the screen: its URL, but for one that holds a password."""
    return urlsplit(store).scheme if "@" in store else store


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    main()
