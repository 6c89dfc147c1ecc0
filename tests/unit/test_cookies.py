"""Cookies: read and written by the exact rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiohttp_spry_session.carriers import add_vary
from aiohttp_spry_session.cookies import CookieWriter, is_cookie_value, read_cookie

DEFAULTS = {
    "name": "sid",
    "domain": None,
    "path": None,
    "secure": False,
    "http_only": True,
    "same_site": "Lax",
    "partitioned": False,
}


def writer(**options: object) -> CookieWriter:
    return CookieWriter(**{**DEFAULTS, **options})  # type: ignore[arg-type]


READ = {
    "none": ([], []),
    "empty": ([""], []),
    "one": (["sid=a"], ["a"]),
    "among others": (["a=1; sid=a; b=2"], ["a"]),
    "spaces and tabs": (["\t a=1;\t sid \t= a \t"], ["a"]),
    "no space": (["a=1;sid=a;b=2"], ["a"]),
    "same value twice": (["sid=a; sid=a", "sid=a"], ["a"]),
    "two values": (["sid=a; sid=b"], ["a", "b"]),
    "several headers": (["sid=a", "x=1", "sid=b"], ["a", "b"]),
    "five values": (["sid=a; sid=b; sid=c; sid=d; sid=e"], ["a", "b", "c", "d"]),
    "five values in two headers": (["sid=a; sid=b; sid=c", "sid=d; sid=e"], ["a", "b", "c", "d"]),
    "empty value": (["sid="], [""]),
    "empty and another": (["sid=; sid=a"], ["", "a"]),
    "no sign": (["sid; sid"], []),
    "no name": (["=sid=a; =a"], []),
    "equals in the value": (["sid=a=b=="], ["a=b=="]),
    "quotes stay": (['sid="a"'], ['"a"']),
    "octal stays": (['sid="\\141"'], ['"\\141"']),
    "percent stays": (["sid=%61"], ["%61"]),
    "semicolon in quotes ends": (['sid="a;b"'], ['"a']),
    "comma stays": (["sid=a,sid=b"], ["a,sid=b"]),
    "letters stay": (["Xsid=a; sidX=b; sid=XcX"], ["XcX"]),
    "letters and other spaces stay around several": (["sid=XaX; sid= \x0bb"], ["XaX", "\x0bb"]),
    "case counts": (["SID=a; Sid=b"], []),
    "longer name": (["sid2=a; xsid=b"], []),
    "unicode space": (["\u2000sid=a; \xa0sid=b; \u3000sid=c; sid\u2000=d"], []),
    "other ascii space": (["\x0bsid=a; \x0csid=b; \x1csid=c; \x85sid=d; \nsid=e"], []),
    "unicode space around the value stays": (["sid=\u2000a\x0b"], ["\u2000a\x0b"]),
    "attributes of the old RFC": (['$Version=1; sid=a; $Path="/"'], ["a"]),
}


@pytest.mark.parametrize(("headers", "values"), READ.values(), ids=READ)
def test_read_cookie(headers, values):
    """Exact name, only space and tab dropped, nothing decoded, at most four distinct values in order."""
    assert read_cookie(headers, "sid") == values


@given(st.lists(st.text(), max_size=4))
def test_read_cookie_never_fails_and_never_invents(headers):
    """Every value it returns stands in a header behind the name; there are at most four, all distinct."""
    values = read_cookie(headers, "sid")
    assert len(values) <= 4
    assert len(set(values)) == len(values)
    for value in values:
        assert any("sid" in header and value in header for header in headers)


octets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='",;\\'), min_size=1)
others = st.lists(st.text(st.characters(exclude_characters=";")).filter(lambda pair: "sid" not in pair), max_size=5)


@given(octets, others, others)
def test_read_cookie_finds_what_was_written(value, before, after):
    """Among any other cookies the value of ours comes back exactly."""
    assert read_cookie(["; ".join([*before, f"sid={value}", *after])], "sid") == [value]


@given(st.text())
def test_cookie_values(value):
    """The allowed values are those that RFC 6265 spells out: one or more cookie-octets."""
    expected = value != "" and all(0x21 <= ord(character) <= 0x7E and character not in '",;\\' for character in value)
    assert is_cookie_value(value) is expected


@pytest.mark.parametrize("character", [*map(chr, range(0x30)), *'",;\\', "\x7f", "\x80", "\xe9", "\u2028"])
def test_cookie_value_characters(character):
    """Each single character is judged by RFC 6265."""
    assert is_cookie_value(f"a{character}") is (character in "!#$%&'()*+-./")


BAD = {
    "name": ["", " ", "a b", "a=b", "a;b", "\xe9", "a\n", "a\0", '"a"', "(a)", None, 3, b"sid", "x" * 2049],
    "domain": [
        "",
        ".example.org",
        "exam ple.org",
        "example.org;",
        "b\xfccher.example",
        "a\n",
        "-a.org",
        "a-.org",
        "a..b",
        3,
        "a" * 1025,
    ],
    "path": ["", "app", "/a;b", "/\n", "/\xe9", "/\x7f", 3, "/" + "a" * 1024],
    "same_site": ["", "lax", "Loose", 0, True, []],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in BAD for value in BAD[option]])
def test_bad_attributes(option, value):
    """What would break the header out of its place, or be ignored by browsers, is refused, naming the option."""
    with pytest.raises(ValueError, match=f"^{option} must"):
        writer(**{option: value})


GOOD = {
    "name": ["a", "SPRY_SESSION_ID", "!#$%&'*+-.^_`|~", "x" * 2048],
    "domain": ["example.org", "a", "xn--bcher-kva.example", "10.0.0.1", "A-b.c", "a" * 1024, None],
    "path": ["/", "/a b", "/" + "a" * 1023, "/~x,y=z", None],
    "same_site": ["Strict", "Lax", None],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in GOOD for value in GOOD[option]])
def test_good_attributes(option, value):
    """What browsers accept is written as it is."""
    headers: CIMultiDict[str] = CIMultiDict()
    writer(**{option: value}).write(headers, "v", max_age=None)
    written = {
        "name": f"{value}=v;",
        "domain": f"; Domain={value}" if value else "v; Path",
        "path": f"; Path={value or '/'};",
        "same_site": f"; SameSite={value}" if value else "HttpOnly",
    }
    assert written[option] in headers["Set-Cookie"]


RULES = [
    ({"name": "__Host-a"}, "__Host- rule"),
    ({"name": "__Host-a", "secure": True, "path": "/x"}, "__Host- rule"),
    ({"name": "__Host-a", "secure": True, "domain": "a.org"}, "__Host- rule"),
    ({"name": "__hOsT-a"}, "__Host- rule"),
    ({"name": "__Secure-a"}, "__Secure- rule"),
    ({"name": "__SECURE-a"}, "__Secure- rule"),
    ({"same_site": "None"}, "secure=True"),
    ({"partitioned": True}, "secure=True"),
]


@pytest.mark.parametrize(("options", "told"), RULES)
def test_rules_of_prefixes_and_attributes(options, told):
    """Cookies that browsers would drop are refused at construction, with the rule."""
    with pytest.raises(ValueError, match=told):
        writer(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "__Host-a", "secure": True},
        {"name": "__Host-a", "secure": True, "path": "/"},
        {"name": "__Secure-a", "secure": True, "path": "/x", "domain": "a.org"},
        {"same_site": "None", "secure": True, "partitioned": True},
    ],
)
def test_kept_rules(options):
    """Cookies that keep the rules are fine."""
    assert writer(**options).name == options.get("name", "sid")


def test_name_and_value_fit_together():
    """An identifier may be as long as name and value fit into 4096 bytes."""
    assert writer(name="x" * 100).max_value_length == 3996


def test_writing():
    """The attributes come in a fixed order; Max-Age only where there is one."""
    headers: CIMultiDict[str] = CIMultiDict()
    writer().write(headers, "v", max_age=60)
    assert headers.getall("Set-Cookie") == ["sid=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"]
    writer(http_only=False, same_site=None).write(headers, "w", max_age=None)
    assert headers.getall("Set-Cookie") == ["sid=w; Path=/"]


def test_removal_repeats_the_attributes():
    """A browser takes a removal of a Secure or partitioned cookie only with the cookie's own attributes."""
    headers: CIMultiDict[str] = CIMultiDict()
    writer(name="__Host-a", secure=True, partitioned=True, same_site="None").remove(headers)
    attributes = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
    assert headers.getall("Set-Cookie") == [
        f"__Host-a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; {attributes}"
    ]


@pytest.mark.parametrize("mine", ["sid=old", "sid=old; Path=/x", " sid =old", "sid"])
def test_replacing_what_is_there(mine):
    """A cookie of the same name gives way; those of other names keep their order."""
    headers = CIMultiDict([("Set-Cookie", "a=1"), ("X", "y"), ("set-cookie", mine), ("Set-Cookie", "sid2=2")])
    writer().write(headers, "v", max_age=None)
    names = [cookie.partition("=")[0] for cookie in headers.getall("Set-Cookie")]
    assert names == ["a", "sid2", "sid"]
    assert headers["X"] == "y"


@pytest.mark.parametrize("other", ["Xsid=1", "sidX=1", "\x0bsid=1", "\u2000sid=1", "SID=1"])
def test_what_is_another_cookie(other):
    """A name is compared exactly; only spaces and tabs around it do not belong to it."""
    headers = CIMultiDict([("Set-Cookie", other)])
    writer().write(headers, "v", max_age=None)
    assert headers.getall("Set-Cookie")[:-1] == [other]


def test_names_of_headers():
    """Header names are written as their RFCs spell them."""
    headers = CIMultiDict([("set-cookie", "a=1")])
    writer().write(headers, "v", max_age=None)
    add_vary(headers, "Cookie")
    assert [name for name, _ in headers.items()] == ["Set-Cookie", "Set-Cookie", "Cache-Control", "Vary"]
    headers["Vary"] = "Accept"
    add_vary(headers, "Cookie")
    assert list(headers.items())[-1] == ("Vary", "Accept, Cookie")


@pytest.mark.parametrize("present", [None, "public, max-age=60"])
def test_cache_control(present):
    """no-store, unless the handler chose otherwise; for a removal likewise."""
    for act in (lambda headers: writer().write(headers, "v", max_age=1), lambda headers: writer().remove(headers)):
        headers: CIMultiDict[str] = CIMultiDict()
        if present is not None:
            headers["Cache-Control"] = present
        act(headers)
        assert headers.getall("Cache-Control") == [present or "no-store"]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], ["Cookie"]),
        ([""], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept", "Origin"], ["Accept, Origin, Cookie"]),
        (["Accept", "cookie"], ["Accept", "cookie"]),
        (["*"], ["*"]),
        (["Accept, *"], ["Accept, *"]),
        ([" COOKIE ,x"], [" COOKIE ,x"]),
        (["x,cookie"], ["x,cookie"]),
        (["Cookies"], ["Cookies, Cookie"]),
    ],
)
def test_vary(present, expected):
    """Cookie joins what is there, in one header, and once."""
    headers = CIMultiDict([("Vary", value) for value in present])
    add_vary(headers, "Cookie")
    assert headers.getall("Vary") == expected
