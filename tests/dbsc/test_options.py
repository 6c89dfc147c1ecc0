"""The options: what they mean, and that every wrong one is told of when the binding is made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aiohttp_spry_session import SessionManager
from aiohttp_spry_session.dbsc.options import Options, read_options, read_within

DEFAULTS: dict[str, Any] = {
    "path": "/.dbsc",
    "lifetime": 600,
    "leeway": 30,
    "grace": 15,
    "required": False,
    "exclude": (),
    "algorithms": ("ES256", "RS256"),
}


def read(manager: SessionManager | None = None, **changes: Any) -> Options:
    return read_options(manager or SessionManager(secure=True), **{**DEFAULTS, **changes})


def test_what_they_mean() -> None:
    """Names and paths are made of them, times are in seconds."""
    options = read(lifetime=timedelta(minutes=20), exclude=["/static", "/img/"], algorithms=["ES256"])
    assert options == Options(
        "SPRY_SESSION_ID-bound", "/.dbsc", 1200.0, 30.0, 15.0, False, ("/static", "/img/"), ("ES256",)
    )
    assert (options.register_path, options.refresh_path) == ("/.dbsc/register", "/.dbsc/refresh")
    assert options.challenge_lifetime == 1500


@pytest.mark.parametrize(
    ("manager", "message"),
    [
        ({"secure": False}, "needs secure=True"),
        ({"secure": True, "partitioned": True}, "partitioned must be False"),
        ({"secure": True, "domain": "example.org"}, "domain must be None"),
    ],
)
def test_a_cookie_that_cannot_be_bound(manager: dict[str, Any], message: str) -> None:
    """Browsers would ignore the registration."""
    with pytest.raises(ValueError, match=message):
        read(SessionManager(**manager))


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": value}
        for value in (
            "",
            "/",
            "dbsc",
            "/.dbsc/",
            "//dbsc",
            "/a b",
            '/"',
            "/a?b",
            "/a#b",
            "/a/../b",
            "/.",
            "/a%20b",
            None,
        )
    ]
    + [{"lifetime": value} for value in (0, 299, 3601, timedelta(hours=2), True, None, "600", float("nan"))]
    + [{"leeway": value} for value in (-1, 301, None, False)]
    + [{"grace": value} for value in (-1, 301, None, timedelta(days=1))]
    + [{"required": value} for value in (None, 1, "yes")]
    + [{"exclude": value} for value in ("/static", ("static",), ("/",), ("",), (None,), ('/"',))]
    + [{"algorithms": value} for value in ((), "ES256", ("ES384",), ("ES256", "ES256"), ("none",))],
    ids=str,
)
def test_a_wrong_option(wrong: dict[str, Any]) -> None:
    """The error names it and says what is allowed."""
    ((name, _),) = wrong.items()
    with pytest.raises(ValueError, match=rf"^{name} must be .*, not "):
        read(**wrong)


@pytest.mark.parametrize(
    ("cookie", "path", "fits"),
    [
        (None, "/.dbsc", True),
        ("/", "/.dbsc", True),
        ("/app", "/app/.dbsc", True),
        ("/app/", "/app/.dbsc", True),
        ("/app", "/.dbsc", False),
        ("/app", "/application", False),
    ],
)
def test_endpoints_lie_within_the_cookies_path(cookie: str | None, path: str, fits: bool) -> None:
    """Browsers send the session's cookie nowhere else."""
    manager = SessionManager(secure=True, path=cookie)
    if fits:
        assert read(manager, path=path).path == path
    else:
        with pytest.raises(ValueError, match="within the cookie's path"):
            read(manager, path=path)


def test_how_recent() -> None:
    """Ten seconds at least: a device needs time to sign."""
    assert read_within(timedelta(seconds=30)) == 30.0
    assert read_within(86400) == 86400.0
    for wrong in (9, 0, -1, None, "30"):
        with pytest.raises(ValueError, match="of 10 or more"):
            read_within(wrong)  # type: ignore[arg-type]
