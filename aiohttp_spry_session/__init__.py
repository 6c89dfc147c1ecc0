"""Server-side sessions for aiohttp.web: no write lost, no dead session revived, no secret in the store."""

from .adapter import SessionAdapter
from .adapters.memory import MemorySessionAdapter
from .adapters.observed import StoreCall
from .adapters.sqlite import SQLiteSessionAdapter
from .codec import Codec, JSONCodec
from .events import SessionEvent
from .exceptions import (
    AdapterError,
    ConflictError,
    HeadersSentError,
    SessionEndedError,
    SessionError,
    SessionNotLoadedError,
    SessionTooLargeError,
    SessionValueError,
    TooManySessionsError,
)
from .identifiers import generate_identifier
from .keys import SessionKey
from .manager import SessionInfo, SessionManager
from .middleware import get_session, session_middleware, setup
from .record import SessionRecord
from .request_key import SESSION
from .session import Session
from .urls import adapter_from_url

__all__ = [
    "SESSION",
    "AdapterError",
    "Codec",
    "ConflictError",
    "HeadersSentError",
    "JSONCodec",
    "MemorySessionAdapter",
    "SQLiteSessionAdapter",
    "Session",
    "SessionAdapter",
    "SessionEndedError",
    "SessionError",
    "SessionEvent",
    "SessionInfo",
    "SessionKey",
    "SessionManager",
    "SessionNotLoadedError",
    "SessionRecord",
    "SessionTooLargeError",
    "SessionValueError",
    "StoreCall",
    "TooManySessionsError",
    "adapter_from_url",
    "generate_identifier",
    "get_session",
    "session_middleware",
    "setup",
]

__version__ = "1.1.0"
