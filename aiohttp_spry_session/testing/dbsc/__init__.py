"""A browser that binds its sessions to a device, in software (extra ``dbsc``)."""

from __future__ import annotations

from .keys import SoftwareKey

__all__ = ["SoftwareKey"]
