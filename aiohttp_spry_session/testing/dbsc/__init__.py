"""A browser that binds its sessions to a device, in software (extra ``dbsc``)."""

from __future__ import annotations

from .device import DeviceSession, SoftwareDevice
from .keys import SoftwareKey
from .signing_in import sign_in

__all__ = ["DeviceSession", "SoftwareDevice", "SoftwareKey", "sign_in"]
