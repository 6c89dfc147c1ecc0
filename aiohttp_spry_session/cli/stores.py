"""The store that a URL on the command line names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from ..adapter import SessionAdapter
from ..adapters.memory import MemorySessionAdapter
from ..adapters.sqlite import SQLiteSessionAdapter
from ..urls import adapter_from_url
from .errors import CommandError, UsageError

__all__ = ["store_from", "unsealed"]


def store_from(url: str, *, create: bool = False) -> SessionAdapter:
    """Return the adapter for a URL; it makes no file and no table, unless ``create`` says so.

    :raises UsageError: for a URL that names no store that could be looked into.
    :raises CommandError: where its driver is not installed, or its file not there.
    """
    try:
        adapter = adapter_from_url(url, expiration=None)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except ImportError as error:
        raise CommandError(str(error)) from error
    if isinstance(adapter, MemorySessionAdapter) or getattr(adapter, "path", None) == ":memory:":
        raise UsageError("sessions in memory are those of one process: no other one can look at them")
    if isinstance(adapter, SQLiteSessionAdapter) and not create and not os.path.exists(adapter.path):
        raise CommandError(f"{adapter.path}: there is no such file")
    postgres: Any = adapter
    if hasattr(postgres, "create_schema"):
        postgres.create_schema = create
    return adapter


def unsealed(adapter: SessionAdapter, environment: Mapping[str, str]) -> SessionAdapter:
    """Return what reads a store whose records are sealed, where ``SPRY_SESSION_KEYS`` has the keys, else the adapter.

    :raises CommandError: where the keys are none, or what reads sealed records is not installed.
    """
    keys = environment.get("SPRY_SESSION_KEYS", "").replace(",", " ").split()
    if not keys:
        return adapter
    try:
        # Looked for only where there are keys: it needs a driver of its own.
        sealed: Any = importlib.import_module("aiohttp_spry_session.adapters.sealed")
        opened: SessionAdapter = sealed.SealedAdapter(adapter, keys)
    except (ImportError, ValueError) as error:
        raise CommandError(f"SPRY_SESSION_KEYS is set, but cannot be used: {error}") from error
    return opened
