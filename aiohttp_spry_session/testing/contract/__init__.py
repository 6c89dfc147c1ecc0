"""The contract of :class:`~aiohttp_spry_session.SessionAdapter` as tests: the same everywhere (promise 11).

Needs pytest and pytest-asyncio.
"""

import pytest

# Before they are imported, so that a failing assertion shows what it compared.
pytest.register_assert_rewrite(
    *(f"{__name__}.{part}" for part in ("hints", "inputs", "life", "moves", "owners", "races", "records", "scans"))
)

from .hints import HintLaws  # noqa: E402
from .inputs import InputLaws  # noqa: E402
from .life import LifeLaws  # noqa: E402
from .moves import MoveLaws  # noqa: E402
from .owners import OwnerLaws  # noqa: E402
from .races import RaceLaws  # noqa: E402
from .records import RecordLaws  # noqa: E402
from .scans import ScanLaws  # noqa: E402

__all__ = ["AdapterContract"]


class AdapterContract(RecordLaws, MoveLaws, OwnerLaws, ScanLaws, RaceLaws, InputLaws, LifeLaws, HintLaws):
    """Proves that an adapter keeps the contract of :class:`~aiohttp_spry_session.SessionAdapter`.

    Subclass it and give it one fixture, which returns a function that makes adapters::

        class TestMyAdapter(AdapterContract):
            @pytest.fixture
            def make_adapter(self, tmp_path):
                return lambda: MyAdapter(tmp_path / "store")

    All adapters that the function makes during one test have to share one store, which is empty when the test begins.
    The kit opens them, gives them a :class:`~aiohttp_spry_session.testing.FakeClock`, and closes them.

    What an adapter does not do it says with a class attribute, and the tests then hold it to that:

    - ``shares_store = False``: each adapter has a store of its own, as in the memory of a process
    - ``finds_owners = False``: ``find`` raises ``NotImplementedError``
    - ``scans = False``: ``scan`` and ``count`` raise ``NotImplementedError``
    - ``purges = False``: the store lets go of expired records by itself, and ``purge`` returns 0
    - ``fails_when_closed = False``: it has no connection, and works without being opened
    - ``survives_reopening = False``: what it held is gone once it was closed
    """
