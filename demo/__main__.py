"""The command line of the demo."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import timedelta
from urllib.parse import urlsplit

from aiohttp import web

from aiohttp_spry_session import AdapterError, adapter_from_url

from .app import create_app
from .settings import Settings


def main() -> None:
    """Serve the demo until it is interrupted."""
    arguments = parse(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        adapter = adapter_from_url(arguments.store, expiration=timedelta(hours=8))
    except (ValueError, ImportError) as error:
        sys.exit(f"--store: {error}")
    settings = Settings(adapter=adapter, https=arguments.https_behind_proxy)
    url = f"http://{bracketed(arguments.host)}:{arguments.port}/"

    def announce(_: object) -> None:
        sys.stdout.write(f"The shop is open at {url} (sessions: {label(arguments.store)}). Ctrl+C closes it.\n")
        sys.stdout.flush()

    try:
        web.run_app(
            create_app(settings), host=arguments.host, port=arguments.port, print=announce, shutdown_timeout=5.0
        )
    except (AdapterError, OSError, OverflowError) as error:
        sys.exit(f"The demo cannot start: {error}")


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
    parser.add_argument(
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
