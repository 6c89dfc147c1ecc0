"""The PostgreSQL adapter keeps the contract, on connections of its own and on an application's pool."""

from __future__ import annotations

import asyncpg
import pytest

from aiohttp_spry_session.testing import AdapterContract
from tests.postgres.conftest import MakePostgres


class TestPostgres(AdapterContract):
    """Two adapters on one table, each with connections of its own."""

    @pytest.fixture
    def make_adapter(self, make_postgres: MakePostgres) -> MakePostgres:
        return make_postgres


class TestPostgresPool(AdapterContract):
    """Two adapters that share the application's pool."""

    @pytest.fixture
    def make_adapter(self, make_postgres: MakePostgres, pool: asyncpg.Pool) -> MakePostgres:
        return lambda: make_postgres(pool)
