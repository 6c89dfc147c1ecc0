"""The kit for adapter authors and for tests of applications."""

from .clock import FakeClock

__all__ = [
    "FakeClock",
]
