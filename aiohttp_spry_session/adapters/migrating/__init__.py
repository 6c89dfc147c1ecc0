"""Sessions that move from one store to another while the site runs."""

from .adapter import MigratingAdapter

__all__ = ["MigratingAdapter"]
