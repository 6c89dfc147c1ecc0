"""The options of a device binding: each read and checked once, with a ``ValueError`` that says what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from .keys import ALGORITHMS, Algorithm

__all__ = ["Options", "read_options", "read_within"]

MIN_LIFETIME, MAX_LIFETIME = 300, 3600
"""Seconds. Browsers give a site six signatures in nine minutes: shorter lifetimes would lock active users out."""
MIN_WITHIN = 10
"""Seconds: what a slow device may take to sign, so that proving cannot go round in circles."""
CHALLENGE_SLACK = 300
"""Seconds that a challenge lives beyond the bound cookie that it came with."""

_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@%-]+)+")


class _Manager(Protocol):
    name: str
    domain: str | None
    path: str | None
    secure: bool
    partitioned: bool


@dataclass(frozen=True, slots=True)
class Options:
    """What the parts of a binding work by. Times are in seconds."""

    cookie: str
    """The bound cookie's name, and the identifier that the browser knows its device session by."""
    path: str
    lifetime: float
    leeway: float
    grace: float
    required: bool
    exclude: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]

    @property
    def register_path(self) -> str:
        """Where a browser registers its key."""
        return f"{self.path}/register"

    @property
    def refresh_path(self) -> str:
        """Where it proves it again."""
        return f"{self.path}/refresh"

    @property
    def challenge_lifetime(self) -> float:
        """How long a challenge may be answered."""
        return self.lifetime + CHALLENGE_SLACK


def read_options(
    manager: _Manager,
    *,
    path: str,
    lifetime: timedelta | float,
    leeway: timedelta | float,
    grace: timedelta | float,
    required: bool,
    exclude: Iterable[str],
    algorithms: Iterable[Algorithm],
) -> Options:
    """Check the options of a binding, and that its manager's cookie can be bound at all."""
    _check_cookie(manager)
    if not isinstance(required, bool):
        raise ValueError(f"required must be True or False, not {required!r}")
    return Options(
        cookie=f"{manager.name}-bound",
        path=_read_path(path, manager.path or "/"),
        lifetime=_read_seconds("lifetime", lifetime, MIN_LIFETIME, MAX_LIFETIME),
        leeway=_read_seconds("leeway", leeway, 0, MIN_LIFETIME),
        grace=_read_seconds("grace", grace, 0, MIN_LIFETIME),
        required=required,
        exclude=_read_exclude(exclude),
        algorithms=_read_algorithms(algorithms),
    )


def read_within(within: timedelta | float) -> float:
    """Check how recent a proof has to be; return it in seconds."""
    return _read_seconds("within", within, MIN_WITHIN, math.inf)


def _check_cookie(manager: _Manager) -> None:
    if not manager.secure:
        raise ValueError("device binding needs secure=True: browsers bind cookies over HTTPS only")
    if manager.partitioned:
        raise ValueError("a partitioned cookie cannot be bound to a device: partitioned must be False")
    if manager.domain is not None:
        raise ValueError(
            f"only a cookie of one host can be bound to a device: domain must be None, not {manager.domain!r}"
        )


def _read_seconds(name: str, value: timedelta | float, least: float, most: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds <= most:
        limit = f"from {least} to {most}" if most < math.inf else f"of {least} or more"
        raise ValueError(f"{name} must be a timedelta or a number of seconds {limit}, not {value!r}")
    return float(seconds)


def _read_path(path: str, cookie_path: str) -> str:
    if not isinstance(path, str) or not _PATH.fullmatch(path) or "%" in path:
        raise ValueError(
            "path must be a path of the site such as '/.dbsc': it begins with '/', ends without one, and has no "
            f"query, nor anything that has to be encoded in an address, not {path!r}"
        )
    inside = cookie_path if cookie_path.endswith("/") else f"{cookie_path}/"
    if not f"{path}/".startswith(inside):
        raise ValueError(f"path must be within the cookie's path {cookie_path!r}, not {path!r}: no cookie reaches it")
    return path


def _read_exclude(exclude: Iterable[str]) -> tuple[str, ...]:
    paths = () if isinstance(exclude, str) else tuple(exclude)
    if isinstance(exclude, str) or not all(isinstance(path, str) and _is_path(path) for path in paths):
        raise ValueError(f"exclude must be a tuple of paths of the site such as ('/static',), not {exclude!r}")
    return paths


def _is_path(path: str) -> bool:
    return _PATH.fullmatch(path.removesuffix("/")) is not None


def _read_algorithms(algorithms: Iterable[Algorithm]) -> tuple[Algorithm, ...]:
    chosen = () if isinstance(algorithms, str) else tuple(algorithms)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(ALGORITHMS):
        raise ValueError(
            f"algorithms must be a tuple of one or more of {', '.join(ALGORITHMS)}, each once, not {algorithms!r}"
        )
    return chosen
