"""Every order in which the store calls of concurrent requests can be carried out, tried one after the other."""

from .explorer import Explorer
from .operations import OPERATIONS, Operation
from .story import BrokenLawError

__all__ = ["OPERATIONS", "BrokenLawError", "Explorer", "Operation"]
