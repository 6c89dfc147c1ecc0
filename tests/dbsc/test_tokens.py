"""The reader of proofs: what it accepts, and everything that it does not."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiohttp_spry_session.dbsc.keys import ALGORITHMS, DeviceKey, ProofError, from_base64url, to_base64url
from aiohttp_spry_session.dbsc.tokens import MAX_TOKEN, Token, read_token
from aiohttp_spry_session.testing.dbsc import SoftwareKey

EC = SoftwareKey("ES256")
RSA = SoftwareKey("RS256")
CLAIMS = {"jti": "1.2.3"}


def header(key: SoftwareKey = EC, **changes: Any) -> dict[str, Any]:
    """The header of a registration, with changes; ``None`` leaves a member out."""
    members = {"typ": "dbsc+jwt", "alg": key.algorithm, "jwk": key.jwk, **changes}
    return {name: value for name, value in members.items() if value is not None}


def jwk(key: SoftwareKey = EC, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**key.jwk, **changes}.items() if value is not None}


def register(text: str) -> DeviceKey:
    """Read a registration as the endpoint does."""
    return read_token(text, ALGORITHMS).new_key()


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES256", "RS256"])
def test_a_registration_is_read(key: SoftwareKey) -> None:
    """The challenge, and the key that made the signature."""
    token = read_token(key.prove("c", registering=True), ALGORITHMS)
    assert (token.challenge, token.algorithm) == ("c", key.algorithm)
    device = token.new_key()
    assert json.loads(device.jwk) == key.jwk
    later = read_token(key.prove("d"), ALGORITHMS)
    assert later.jwk is None
    later.check(device)


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES256", "RS256"])
def test_a_proof_by_another_key_is_refused(key: SoftwareKey) -> None:
    """Of the same algorithm."""
    device = register(key.prove("c", registering=True))
    other = read_token(SoftwareKey(key.algorithm).prove("c"), ALGORITHMS)
    with pytest.raises(ProofError, match="another key"):
        other.check(device)


def test_a_key_has_one_algorithm() -> None:
    """A token cannot choose how a key is used (RFC 8725, 3.1)."""
    device = register(EC.prove("c", registering=True))
    for text in (RSA.prove("c"), EC.token({"typ": "dbsc+jwt", "alg": "RS256"}, CLAIMS)):
        with pytest.raises(ProofError, match="another key"):
            read_token(text, ALGORITHMS).check(device)


@pytest.mark.parametrize("n", [2**2048 - 2, 2**2047 - 1, 2**2040 + 1], ids=["even", "short", "noughts first"])
def test_a_modulus_is_odd_and_has_its_length(n: int) -> None:
    """Nothing else is a key, whether or not anybody signs with it."""
    with pytest.raises(ProofError, match="a modulus must be odd"):
        DeviceKey.read("RS256", {"kty": "RSA", "n": to_base64url(n.to_bytes(256, "big")), "e": "AQAB"})


def test_thumbprint_is_the_standards() -> None:
    """The example of RFC 7638, 3.1, to the letter."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb"
        "9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls"
        "1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = DeviceKey.read("RS256", {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def signed_with_public_key(key: SoftwareKey) -> str:
    """HS256 with what everybody knows: the classic."""
    parts = f"{to_base64url(json.dumps(header(key, alg='HS256')).encode())}.{to_base64url(json.dumps(CLAIMS).encode())}"
    secret = json.dumps(key.jwk).encode()
    return f"{parts}.{to_base64url(hmac.digest(secret, parts.encode(), 'sha256'))}"


def on_curve(curve: ec.EllipticCurve, name: str, length: int) -> dict[str, str]:
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    x, y = (to_base64url(value.to_bytes(length, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": name, "x": x, "y": y}


def modulus(bits: int) -> str:
    return to_base64url((2**bits - 1).to_bytes(bits // 8, "big"))


SHORT_RSA = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
GOOD = EC.prove("c", registering=True)
HEAD, BODY, SIGNATURE = GOOD.split(".")
RAW = from_base64url(SIGNATURE)
DEEP = b'{"jti": ' + b"[" * 3000 + b"]" * 3000 + b"}"

HOSTILE: dict[str, str] = {
    "nothing": "",
    "words": "let me in",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "dots": "..",
    "alg none": f"{to_base64url(json.dumps(header(alg='none')).encode())}.{BODY}.",
    "alg none, signed": EC.token(header(alg="none"), CLAIMS),
    "no alg": EC.token(header(alg=None), CLAIMS),
    "alg a list": EC.token(header(alg=["ES256"]), CLAIMS),
    "HS256 with the public key": signed_with_public_key(EC),
    "HS256 with the public RSA key": signed_with_public_key(RSA),
    "a symmetric key": EC.token(header(alg="HS256", jwk={"kty": "oct", "k": "AAAA"}), CLAIMS),
    "RS256 with an EC key": EC.token(header(alg="RS256"), CLAIMS),
    "ES256 with an RSA key": RSA.token(header(RSA, alg="ES256"), CLAIMS),
    "ES384": EC.token(header(alg="ES384"), CLAIMS),
    "another type": EC.token(header(typ="JWT"), CLAIMS),
    "no type": EC.token(header(typ=None), CLAIMS),
    "type a number": EC.token(header(typ=1), CLAIMS),
    "P-384": EC.token(header(jwk=on_curve(ec.SECP384R1(), "P-384", 48)), CLAIMS),
    "secp256k1": EC.token(header(jwk=on_curve(ec.SECP256K1(), "secp256k1", 32)), CLAIMS),
    "secp256k1 that says P-256": EC.token(header(jwk=on_curve(ec.SECP256K1(), "P-256", 32)), CLAIMS),
    "a point off the curve": EC.token(header(jwk=jwk(y=jwk()["x"])), CLAIMS),
    "the point at nought": EC.token(header(jwk=jwk(x=to_base64url(bytes(32)), y=to_base64url(bytes(32)))), CLAIMS),
    "a short coordinate": EC.token(header(jwk=jwk(x=to_base64url(bytes(31)))), CLAIMS),
    "no coordinate": EC.token(header(jwk=jwk(y=None)), CLAIMS),
    "a coordinate that is a number": EC.token(header(jwk=jwk(x=7)), CLAIMS),
    "RSA of 1024 bits": RSA.token(header(RSA, jwk=jwk(RSA, n=to_base64url(SHORT_RSA.n.to_bytes(128, "big")))), CLAIMS),
    "RSA of 8192 bits": RSA.token(header(RSA, jwk=jwk(RSA, n=modulus(8192))), CLAIMS),
    "RSA of 32768 bits": RSA.token(header(RSA, jwk=jwk(RSA, n=modulus(32768))), CLAIMS),
    "an even modulus": RSA.token(header(RSA, jwk=jwk(RSA, n=to_base64url((2**2048 - 2).to_bytes(256, "big")))), CLAIMS),
    "a modulus with noughts before it": RSA.token(
        header(RSA, jwk=jwk(RSA, n=to_base64url(bytes(1) + from_base64url(RSA.jwk["n"])))), CLAIMS
    ),
    "exponent 1": RSA.token(header(RSA, jwk=jwk(RSA, e="AQ")), CLAIMS),
    "exponent 3": RSA.token(header(RSA, jwk=jwk(RSA, e="Aw")), CLAIMS),
    "a long exponent": RSA.token(header(RSA, jwk=jwk(RSA, e=modulus(2048))), CLAIMS),
    "an exponent with noughts before it": RSA.token(header(RSA, jwk=jwk(RSA, e="AAEAAQ")), CLAIMS),
    "a private key": EC.token(header(jwk=jwk(d=to_base64url(bytes(32)))), CLAIMS),
    "a key for something else": EC.token(header(jwk=jwk(alg="RS256")), CLAIMS),
    "a key to encrypt with": EC.token(header(jwk=jwk(use="enc")), CLAIMS),
    "a key that is a list": EC.token(header(jwk=[jwk()]), CLAIMS),
    "a key that is text": EC.token(header(jwk="P-256"), CLAIMS),
    "no key where one belongs": EC.prove("c"),
    "another's key": EC.token(header(jwk=SoftwareKey().jwk), CLAIMS),
    "a name twice in the header": EC.token(json.dumps(header()).encode()[:-1] + b', "alg": "ES256"}', CLAIMS),
    "a name twice in the key": EC.token(
        json.dumps(header(jwk="KEY")).encode().replace(b'"KEY"', json.dumps(jwk()).encode()[:-1] + b', "kty": "EC"}'),
        CLAIMS,
    ),
    "a name twice in the claims": EC.token(header(), b'{"jti": "a", "jti": "b"}'),
    "an extension": EC.token(header(crit=["exp"]), CLAIMS),
    "an unencoded payload": EC.token(header(b64=False), CLAIMS),
    "no challenge": EC.token(header(), {}),
    "a challenge that is a number": EC.token(header(), {"jti": 1}),
    "claims that are a list": EC.token(header(), b'["jti"]'),
    "claims that are no JSON": EC.token(header(), b"jti=1"),
    "claims in another encoding": EC.token(header(), json.dumps(CLAIMS).encode("utf-16")),
    "claims that are no UTF-8": EC.token(header(), b'{"jti": "\xff"}'),
    "NaN": EC.token(header(), b'{"jti": "a", "n": NaN}'),
    "a number of 4000 digits": EC.token(header(), b'{"jti": "a", "n": ' + b"9" * 4400 + b"}"),
    "nested 65 deep": EC.token(header(), b'{"jti": "a", "n": ' + b"[" * 64 + b"]" * 64 + b"}"),
    "nested 1300 deep": EC.token(header(), b'{"jti": "a", "n": ' + b"[" * 1300 + b"]" * 1300 + b"}"),
    "65 objects": EC.token(header(), b'{"jti": "a", "n": [' + b"{}," * 62 + b"{}]}"),
    "nested 3000 deep": EC.token(header(), DEEP),
    "100 KB": EC.token(header(), {"jti": "c" * 100_000}),
    "100 KB of dots": "." * 100_000,
    "padded": f"{HEAD}==.{BODY}.{SIGNATURE}",
    "standard base64": f"{HEAD}.{BODY}.{base64.b64encode(bytes([251, 255] * 32)).decode()}",
    "spaces": f"{HEAD} .{BODY}.{SIGNATURE}",
    "a line break": f"{HEAD}.{BODY}.{SIGNATURE}\n",
    "letters of other scripts": f"{HEAD}.{BODY}.\N{CYRILLIC SMALL LETTER A}{SIGNATURE[1:]}",
    "one character too many": f"{HEAD}.{BODY}.{SIGNATURE}AAA",
    "bits that count for nothing": f"{HEAD}.{BODY}.{SIGNATURE[:-1]}{'B' if SIGNATURE[-1] == 'A' else 'h'}",
    "a DER signature": f"{HEAD}.{BODY}.{to_base64url(bytes([48, 6, 2, 1, 1, 2, 1, 1]))}",
    "a signature with a nought in it": f"{HEAD}.{BODY}.{to_base64url(RAW[:32] + bytes(1) + RAW[32:])}",
    "a signature of noughts": f"{HEAD}.{BODY}.{to_base64url(bytes(64))}",
    "a signature of ones": f"{HEAD}.{BODY}.{to_base64url(bytes([255] * 64))}",
    "a signature of another's claims": f"{HEAD}.{to_base64url(b'{}')}.{SIGNATURE}",
    "RSA, a signature of noughts": ".".join(
        [*RSA.prove("c", registering=True).split(".")[:2], to_base64url(bytes(256))]
    ),
    "RSA, a short signature": ".".join([*RSA.prove("c", registering=True).split(".")[:2], "AAAA"]),
}
"""Tokens that are to be refused, by what is wrong with them."""


def test_a_token_with_many_brackets_is_read() -> None:
    """Up to the limit; what they are nested in counts too."""
    token = EC.token(header(), b'{"jti": "a", "n": ' + b"[" * 63 + b"]" * 63 + b"}")
    assert read_token(token, ("ES256",)).challenge == "a"


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_token_is_refused(what: str) -> None:
    """By :class:`ProofError`, and nothing else."""
    with pytest.raises(ProofError):
        register(HOSTILE[what])


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_token_costs_less_than_a_millisecond(what: str) -> None:
    """Of the processor's time, the best of five."""

    def cost() -> float:
        began = time.thread_time()
        with pytest.raises(ProofError):
            register(HOSTILE[what])
        return time.thread_time() - began

    assert min(cost() for _ in range(5)) < 0.001


def test_an_algorithm_that_is_not_offered_is_refused() -> None:
    """Though it is one that is known."""
    with pytest.raises(ProofError, match="not allowed"):
        read_token(RSA.prove("c", registering=True), ("ES256",))


def test_the_longest_that_is_right_is_read() -> None:
    """A key of 4096 bits fits; what is longer than any of them is not looked at."""
    long = RSA.token(
        {"typ": "dbsc+jwt", "alg": "RS256", "jwk": {"kty": "RSA", "n": modulus(4096), "e": "AQAB"}}, CLAIMS
    )
    assert len(long) < MAX_TOKEN / 3
    assert DeviceKey.read("RS256", {"kty": "RSA", "n": modulus(4096), "e": "AQAB"}).algorithm == "RS256"
    padded = EC.token(header(), {"jti": "c", "_": "x" * MAX_TOKEN})
    with pytest.raises(ProofError, match="too long"):
        read_token(padded, ALGORITHMS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
MEMBERS = st.sampled_from(["typ", "alg", "jwk", "crit", "jti", "kty", "crv", "x", "y", "n", "e", "d"])
OBJECTS = st.dictionaries(MEMBERS, JSON | st.sampled_from(["dbsc+jwt", "ES256", "RS256", "none", "EC", "RSA", "AQAB"]))


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
@example(GOOD + "\0")
def test_any_text_is_refused(text: str) -> None:
    """Whatever a header holds, only ProofError comes out."""
    with pytest.raises(ProofError):
        register(text)


@settings(deadline=None)
@given(OBJECTS, OBJECTS, st.sampled_from([EC, RSA]))
def test_any_members_are_refused_or_read(head: dict[str, Any], claims: dict[str, Any], key: SoftwareKey) -> None:
    """A well-formed token is accepted only with the key that signed it in it."""
    text = key.token({"typ": "dbsc+jwt", "alg": key.algorithm, **head}, claims)
    try:
        found = register(text)
    except ProofError:
        return
    assert json.loads(found.jwk) == key.jwk


@settings(deadline=None)
@given(st.dictionaries(MEMBERS, JSON), st.sampled_from([EC, RSA]))
def test_any_key_is_refused_or_itself(members: dict[str, Any], key: SoftwareKey) -> None:
    """Changes to a key's members leave it as it was, or make it no key."""
    try:
        found = DeviceKey.read(key.algorithm, {**key.jwk, **members})
    except ProofError:
        return
    assert json.loads(found.jwk) == key.jwk


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.characters(codec="ascii"))
def test_no_character_can_be_changed(place: int, character: str) -> None:
    """Each character of a token is covered: by the signature, or as part of it."""
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    if changed == GOOD:
        register(changed)
        return
    with pytest.raises(ProofError):
        register(changed)


@settings(deadline=None)
@given(st.binary())
def test_base64url_is_exact(data: bytes) -> None:
    """Each sequence of bytes has one form, and comes back."""
    assert from_base64url(to_base64url(data)) == data
    with pytest.raises(ProofError):
        from_base64url(data)


def test_a_token_shows_what_is_signed() -> None:
    """The first two parts, as they came."""
    token = read_token(GOOD, ALGORITHMS)
    assert isinstance(token, Token)
    assert token.signed == f"{HEAD}.{BODY}".encode()
