"""Sealed records: who can write to the store can read, forge, extend, exchange or redirect no session.

Needs the extra ``seal``.
"""

try:
    import cryptography as _cryptography  # noqa: F401
except ImportError as error:
    raise ImportError(
        "the sealed adapter needs cryptography: pip install 'aiohttp-spry-session[seal]'", name="cryptography"
    ) from error

from .adapter import SealedAdapter
from .keys import generate_key, keys_from_text

__all__ = ["SealedAdapter", "generate_key", "keys_from_text"]
