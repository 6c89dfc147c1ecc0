"""Device-bound sessions, experimental: a stolen cookie is worthless minutes later (W3C's DBSC)."""

try:
    import cryptography as _cryptography  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'device-bound sessions need {error.name}: pip install "aiohttp-spry-session[dbsc]"', name=error.name
    ) from error

from .arrival import Device
from .devices import DeviceBinding, get_device, prove, required, setup

__all__ = ["Device", "DeviceBinding", "get_device", "prove", "required", "setup"]
