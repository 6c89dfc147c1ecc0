"""What a session's record says of the device that it is bound to, and what a proof makes of it: no I/O here.

A sign-in makes an *offer*: a binding with a secret and no key yet. A registration fills it, each refresh counts it up.
"""

from __future__ import annotations

import secrets

import msgspec
from msgspec.structs import replace

from .keys import DeviceKey, ProofError
from .options import Options
from .seals import Challenge, Purpose, make_challenge, make_pass, read_challenge
from .tokens import Token, read_token

__all__ = ["Binding", "TakenError", "challenge_for", "new_offer", "pass_for", "read_binding", "refresh", "register"]


class TakenError(Exception):
    """Another registration was faster. Never leaves the package: it becomes a response."""


class Binding(msgspec.Struct, array_like=True, frozen=True):
    """One session's. It is replaced by the next ``bind``, and by nothing else."""

    secret: bytes
    """256 bits that only the record holds: what challenges and bound cookies are sealed with."""
    counter: int = 0
    """How many proofs were accepted: a challenge is good for the one that comes next, so for one."""
    key: tuple[str, bytes] | None = None
    """The device's public key, by algorithm and JWK; ``None`` while there is an offer only."""

    @property
    def device_key(self) -> DeviceKey | None:
        """The device's public key."""
        return None if self.key is None else DeviceKey(*self.key)  # type: ignore[arg-type]

    def packed(self) -> bytes:
        """Return what the record keeps."""
        return _encode(self)

    def __repr__(self) -> str:
        return f"<Binding counter={self.counter} registered={self.key is not None}>"  # (promise 10) never the secret


_encode = msgspec.msgpack.Encoder().encode
read_binding = msgspec.msgpack.Decoder(Binding).decode
"""Returns the binding that a record keeps; ``ValueError`` where it is damaged."""


def new_offer() -> Binding:
    """Return the binding that a sign-in begins with."""
    return Binding(secrets.token_bytes(32))


def challenge_for(binding: Binding, options: Options, now: float) -> str:
    """Return a new challenge for the next proof: to register with, while there is no key."""
    return make_challenge(
        binding.secret,
        _purpose(binding),
        counter=binding.counter,
        now=now,
        lifetime=options.challenge_lifetime,
    )


def pass_for(binding: Binding, options: Options, issued: int, now: float) -> str:
    """Return the bound cookie's value, after a proof whose challenge was ``issued`` then."""
    return make_pass(binding.secret, issued=issued, until=int(now + options.lifetime))


def register(binding: Binding, text: str, options: Options, now: float) -> tuple[Binding, Challenge]:
    """Return the binding to the key that a registration brings along, and the challenge that it answers.

    :raises TakenError: where there is a key already.
    :raises ProofError: for anything that is not a sound registration of this session.
    """
    token, challenge = _read(binding, text, "register", options, now)
    if binding.key is not None:
        raise TakenError
    key = token.new_key()
    return replace(binding, counter=1, key=(key.algorithm, key.jwk)), challenge


def refresh(binding: Binding, text: str, options: Options, now: float) -> tuple[Binding, Challenge]:
    """Return the binding after one more proof, and the challenge that it answers; it is good for that one time.

    :raises ProofError: for anything that is not a sound proof of this session's key.
    """
    key = binding.device_key
    if key is None:
        raise ProofError("nothing is bound")
    token, challenge = _read(binding, text, "refresh", options, now)
    if token.jwk is not None:
        raise ProofError("a key where none belongs")
    if challenge.counter != binding.counter:
        raise ProofError("a challenge that was used, or overtaken")
    token.check(key)
    return replace(binding, counter=binding.counter + 1), challenge


def _read(binding: Binding, text: str, purpose: Purpose, options: Options, now: float) -> tuple[Token, Challenge]:
    """Return a token and its challenge: ours, alive, and for this session. It costs no signature to find out."""
    token = read_token(text, options.algorithms)
    challenge = read_challenge(token.challenge, binding.secret, purpose, now)
    if challenge is None:
        raise ProofError("another challenge, or one that has expired")
    return token, challenge


def _purpose(binding: Binding) -> Purpose:
    return "register" if binding.key is None else "refresh"
