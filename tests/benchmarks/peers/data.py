"""What every peer's handlers do: the same as ours."""

from __future__ import annotations

import itertools

DATA = {"user": "ada@example.org", "theme": "dark", "language": "en"}
LIFETIME = 24 * 60 * 60

visits = itertools.count()
