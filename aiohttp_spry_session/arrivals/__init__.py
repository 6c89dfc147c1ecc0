"""Visitors of a site that used aiohttp-session stay signed in: their sessions arrive, each at its next use."""

from .encrypted_cookie import AiohttpSessionEncryptedCookie
from .redis import AiohttpSessionRedis
from .setting_up import setup

__all__ = ["AiohttpSessionEncryptedCookie", "AiohttpSessionRedis", "setup"]
