"""Device-bound sessions, experimental: a stolen cookie is worthless minutes later (W3C's DBSC)."""

try:
    import cryptography as _cryptography  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'device-bound sessions need {error.name}: pip install "aiohttp-spry-session[dbsc]"', name=error.name
    ) from error

__all__: list[str] = []
