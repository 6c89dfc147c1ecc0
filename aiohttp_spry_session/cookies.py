"""Reading the session cookie from a request's headers, and writing it into a response's.

aiohttp's and the standard library's cookie code decodes, unquotes and strips more than RFC 6265 allows and writes
some attributes unchecked; a session cookie needs the exact rules. It is the one place that the secret goes to
(promise 10).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

from multidict import CIMultiDict

__all__ = [
    "COOKIE_VALUE",
    "MAX_COOKIE_BYTES",
    "MAX_VALUES",
    "CookieWriter",
    "SameSite",
    "is_cookie_value",
    "read_cookie",
    "read_header",
]

SameSite = Literal["Strict", "Lax", "None"]

MAX_COOKIE_BYTES = 4096
"""Name and value together; browsers drop a longer cookie (RFC 6265bis, 5.7)."""

_MAX_ATTRIBUTE_BYTES = 1024
MAX_VALUES = 4
"""So many of the values that a client presents are looked at."""
COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]+")
"""One or more cookie-octets (RFC 6265, 4.1.1)."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")


def is_cookie_value(value: str) -> bool:
    """Whether a value is made of one or more cookie-octets (RFC 6265, 4.1.1), with no quotes around it."""
    return COOKIE_VALUE.fullmatch(value) is not None


def read_cookie(headers: Sequence[str], name: str) -> list[str]:
    """Return the first distinct values that a request's ``Cookie`` headers give for exactly this name, at most four.

    Only spaces and tabs around a pair are dropped, nothing is unquoted or decoded. A value comes back as it was
    sent, well-formed or not.
    """
    find = _pairs_named(name)
    if len(headers) == 1:
        found = find(headers[0])
        if len(found) == 1:
            return [found[0].strip(" \t")]
    else:
        found = [value for header in headers for value in find(header)]
    # More than four are not looked up: they cost an attacker nothing.
    return list(dict.fromkeys(value.strip(" \t") for value in found))[:MAX_VALUES]


@lru_cache(maxsize=64)
def _pairs_named(name: str) -> Callable[[str], list[str]]:
    return re.compile(rf"(?:^|;)[ \t]*{re.escape(name)}[ \t]*=([^;]*)").findall


class CookieWriter:
    """The session cookie's attributes, checked once, and the headers made from them."""

    def __init__(
        self,
        *,
        name: str,
        domain: str | None,
        path: str | None,
        secure: bool,
        http_only: bool,
        same_site: SameSite | None,
        partitioned: bool,
    ) -> None:
        path = "/" if path is None else path
        self._options: dict[str, Any] = {
            "domain": domain,
            "path": path,
            "secure": secure,
            "http_only": http_only,
            "same_site": same_site,
            "partitioned": partitioned,
        }
        _check_characters(name, domain, path, same_site)
        _check_rules(name, domain, path, secure=secure, same_site=same_site, partitioned=partitioned)
        self.name = name
        self.max_value_length = MAX_COOKIE_BYTES - len(name)
        self._prefix = f"{name}="
        self._attributes = "".join(
            [
                f"; Domain={domain}" if domain is not None else "",
                f"; Path={path}",
                "; Secure" if secure else "",
                "; HttpOnly" if http_only else "",
                f"; SameSite={same_site}" if same_site is not None else "",
                "; Partitioned" if partitioned else "",
            ]
        )
        # A browser takes a removal only with the attributes of the cookie that it removes.
        self._removal = f"{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{self._attributes}"

    @property
    def attributes(self) -> str:
        """All but the lifetime, as they stand in a ``Set-Cookie`` header."""
        return self._attributes.removeprefix("; ")

    def named(self, name: str, **others: Any) -> CookieWriter:
        """Return the writer of another cookie with the same attributes, but for these."""
        return CookieWriter(name=name, **{**self._options, **others})

    def write(self, headers: CIMultiDict[str], value: str, *, max_age: int | None) -> None:
        """Put the cookie into a response's headers, in place of any other of its name; ``max_age`` in seconds."""
        lifetime = "" if max_age is None else f"; Max-Age={max_age}"
        self._replace(headers, f"{self._prefix}{value}{lifetime}{self._attributes}")

    def remove(self, headers: CIMultiDict[str]) -> None:
        """Put the cookie's removal into a response's headers, in place of any other cookie of its name."""
        self._replace(headers, self._removal)

    def _replace(self, headers: CIMultiDict[str], cookie: str) -> None:
        others = headers.popall("Set-Cookie", ())
        for other in others:
            if other.partition("=")[0].strip(" \t") != self.name:
                headers.add("Set-Cookie", other)
        headers.add("Set-Cookie", cookie)
        headers.setdefault("Cache-Control", "no-store")


_TAKEN = re.compile(
    r"allow|authorization|cache-control|connection|cookie|date|etag|expires|forwarded|from|host|link|location|origin"
    r"|range|referer|server|set-cookie|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|www-authenticate"
    r"|(?:accept|access-control-|content-|if-|proxy-|sec-).*",
    re.IGNORECASE,
)


def read_header(value: str | None) -> str | None:
    """Check the option ``header``, a header that plays the cookie's part."""
    if value is None:
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError(f"header must be the name of a header, such as 'X-Session', or None, not {value!r}")
    if _TAKEN.fullmatch(value):
        raise ValueError(f"header must be a name of its own, such as 'X-Session': {value!r} means something to HTTP")
    return value


def _check_characters(name: str, domain: str | None, path: str, same_site: str | None) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ValueError(f"name must be a cookie name (RFC 6265: letters, digits and !#$%&'*+-.^_`|~), not {name!r}")
    if len(name) > MAX_COOKIE_BYTES // 2:
        raise ValueError(
            f"name must leave room for an identifier: name and value together may take {MAX_COOKIE_BYTES} bytes"
        )
    if domain is not None and (
        not isinstance(domain, str) or len(domain) > _MAX_ATTRIBUTE_BYTES or not _DOMAIN.fullmatch(domain)
    ):
        raise ValueError(f"domain must be a host name such as 'example.org' (ASCII, no leading dot), not {domain!r}")
    if not isinstance(path, str) or len(path) > _MAX_ATTRIBUTE_BYTES or not _PATH.fullmatch(path):
        raise ValueError(f"path must start with '/' and be printable ASCII without ';', not {path!r}")
    if same_site not in ("Strict", "Lax", "None", None):
        raise ValueError(f"same_site must be 'Strict', 'Lax', 'None' or None, not {same_site!r}")


def _check_rules(
    name: str, domain: str | None, path: str, *, secure: bool, same_site: str | None, partitioned: bool
) -> None:
    # Browsers compare the prefixes without regard to case (RFC 6265bis, 4.1.3).
    prefix = name.lower()
    if prefix.startswith("__host-") and not (secure and path == "/" and domain is None):
        raise ValueError(f"a cookie named {name!r} needs secure=True, path='/' and no domain (the __Host- rule)")
    if prefix.startswith("__secure-") and not secure:
        raise ValueError(f"a cookie named {name!r} needs secure=True (the __Secure- rule)")
    if same_site == "None" and not secure:
        raise ValueError("same_site='None' needs secure=True: browsers drop the cookie otherwise")
    if partitioned and not secure:
        raise ValueError("partitioned=True needs secure=True: browsers drop the cookie otherwise")
