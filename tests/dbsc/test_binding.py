"""A binding through its life: offered, registered, proved; and what a request's cookie shows. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aiohttp_spry_session import SessionManager
from aiohttp_spry_session.dbsc.arrival import Device, judge
from aiohttp_spry_session.dbsc.binding import (
    Binding,
    TakenError,
    challenge_for,
    new_offer,
    pass_for,
    read_binding,
    refresh,
    register,
)
from aiohttp_spry_session.dbsc.keys import DeviceKey, ProofError
from aiohttp_spry_session.dbsc.options import Options
from aiohttp_spry_session.facts import Facts
from aiohttp_spry_session.testing.dbsc import SoftwareKey

from .test_options import read

OPTIONS: Options = read(SessionManager(secure=True))
NOW = 1_700_000_000.5
KEY = SoftwareKey()


def bound() -> Binding:
    """A binding to KEY, registered NOW."""
    offer = new_offer()
    return register(offer, KEY.prove(challenge_for(offer, OPTIONS, NOW), registering=True), OPTIONS, NOW)[0]


def test_a_registration_fills_the_offer() -> None:
    """The key and the time are kept, the secret stays, one proof is counted."""
    offer = new_offer()
    proof = KEY.prove(challenge_for(offer, OPTIONS, NOW), registering=True)
    binding, challenge = register(offer, proof, OPTIONS, NOW + 2)
    key = DeviceKey.read("ES256", KEY.jwk)
    assert binding == Binding(offer.secret, 1, ("ES256", key.jwk))
    assert binding.device_key == key
    assert challenge.issued == int(NOW)
    assert read_binding(binding.packed()) == binding


def test_offers_differ() -> None:
    """Each has 256 bits of its own."""
    secrets = {new_offer().secret for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {32}


def test_a_session_is_registered_once() -> None:
    """A second device, or the same registration again, comes too late."""
    offer = new_offer()
    challenge = challenge_for(offer, OPTIONS, NOW)
    proof = KEY.prove(challenge, registering=True)
    binding, _ = register(offer, proof, OPTIONS, NOW)
    for late in (proof, SoftwareKey().prove(challenge, registering=True)):
        with pytest.raises(TakenError):
            register(binding, late, OPTIONS, NOW)


def test_a_registration_needs_this_sessions_challenge() -> None:
    """Not another session's, none that has ended, none to refresh with, and a key in it."""
    offer = new_offer()
    good = challenge_for(offer, OPTIONS, NOW)
    refused = [
        KEY.prove(challenge_for(new_offer(), OPTIONS, NOW), registering=True),
        KEY.prove(challenge_for(bound(), OPTIONS, NOW), registering=True),
        KEY.prove("", registering=True),
        KEY.prove(good),
    ]
    for proof in refused:
        with pytest.raises(ProofError):
            register(offer, proof, OPTIONS, NOW)
    with pytest.raises(ProofError):
        register(offer, KEY.prove(good, registering=True), OPTIONS, NOW + OPTIONS.challenge_lifetime)
    with pytest.raises(ProofError):
        register(offer, KEY.prove(good, registering=True), read(algorithms=("RS256",)), NOW)


def test_a_proof_is_good_once() -> None:
    """It counts up, and so does away with its own challenge and all others of that time."""
    binding = bound()
    proofs = [KEY.prove(challenge_for(binding, OPTIONS, NOW)) for _ in range(2)]
    after, challenge = refresh(binding, proofs[0], OPTIONS, NOW + 1)
    assert (after.counter, after.secret, after.key) == (2, binding.secret, binding.key)
    assert challenge.counter == 1
    for proof in proofs:
        with pytest.raises(ProofError, match="used, or overtaken"):
            refresh(after, proof, OPTIONS, NOW + 1)


def test_a_challenge_outlives_its_bound_cookie() -> None:
    """That which comes with a cookie can be answered when the cookie ends, and five minutes later."""
    binding = bound()
    proof = KEY.prove(challenge_for(binding, OPTIONS, NOW))
    assert refresh(binding, proof, OPTIONS, NOW + OPTIONS.lifetime + 299)[0].counter == 2
    with pytest.raises(ProofError, match="expired"):
        refresh(binding, proof, OPTIONS, NOW + OPTIONS.lifetime + 300)


def test_a_proof_needs_the_key_and_brings_none() -> None:
    """Another key's signature, a key in the header, an offer without a key."""
    binding = bound()
    challenge = challenge_for(binding, OPTIONS, NOW)
    for proof in (SoftwareKey().prove(challenge), KEY.prove(challenge, registering=True)):
        with pytest.raises(ProofError):
            refresh(binding, proof, OPTIONS, NOW)
    offer = new_offer()
    with pytest.raises(ProofError, match="nothing is bound"):
        refresh(offer, KEY.prove(challenge_for(offer, OPTIONS, NOW)), OPTIONS, NOW)


def test_a_binding_shows_no_secret() -> None:
    """Neither in a log nor in a traceback."""
    binding = bound()
    assert repr(binding) == "<Binding counter=1 registered=True>"


def facts(packed: bytes | None, bound_at: float | None = NOW) -> Facts:
    """What a record keeps of a binding, and of when its key was registered."""
    return Facts(binding=packed, bound_at=bound_at)


def sight(packed: bytes | None, *presented: str, after: float, bound_at: float = NOW, **changes: Any) -> str:
    """What is made of a request that comes so long after the sign-in."""
    options: dict[str, Any] = {"since": NOW, "now": NOW + after, "required": False, **changes}
    return judge(facts(packed, bound_at), lambda: presented, OPTIONS, **options).state


def test_a_bound_cookie_is_good_until_its_end_and_a_little_longer() -> None:
    """Leeway is for clocks that differ and requests that are under way."""
    binding = bound()
    cookie = pass_for(binding, OPTIONS, int(NOW), NOW)
    assert sight(binding.packed(), cookie, after=20) == "bound"
    assert sight(binding.packed(), cookie, after=629) == "bound"
    assert sight(binding.packed(), cookie, after=630) == "unproven"


@pytest.mark.parametrize("presented", [(), ("",), ("1.2.3",), ("x" * 5000,)])
def test_without_it_a_bound_session_is_unproven(presented: tuple[str, ...]) -> None:
    """Once the time is over in which requests may have left without it."""
    packed = bound().packed()
    assert sight(packed, *presented, after=14) == "bound"
    assert sight(packed, *presented, after=15) == "unproven"


def test_another_sessions_cookie_shows_nothing() -> None:
    """Nor does one from before the last sign-in."""
    other = bound()
    assert sight(bound().packed(), pass_for(other, OPTIONS, int(NOW), NOW), after=20) == "unproven"


def test_among_several_cookies_the_good_one_counts() -> None:
    """Whoever can plant a cookie beside it takes nothing away."""
    binding = bound()
    old, new = (pass_for(binding, OPTIONS, int(NOW + age), NOW + age) for age in (0, 600))
    for presented in ((old, "x", new), (new, "x", old)):
        found = judge(
            facts(binding.packed()),
            lambda presented=presented: presented,
            OPTIONS,
            since=NOW,
            now=NOW + 700,
            required=False,
        )
        assert found.state == "bound"
        assert found.device().proved_at == datetime.fromtimestamp(int(NOW + 600), UTC)


def test_grace_begins_again_with_a_late_registration() -> None:
    """Requests that left before its answer was there are not refused."""
    offer = new_offer()
    proof = KEY.prove(challenge_for(offer, OPTIONS, NOW), registering=True)
    packed = register(offer, proof, OPTIONS, NOW + 100)[0].packed()
    assert sight(packed, after=114, bound_at=NOW + 100) == "bound"
    assert sight(packed, after=115, bound_at=NOW + 100) == "unproven"


@pytest.mark.parametrize("packed", [None, new_offer().packed()], ids=["no offer", "offer"])
def test_without_a_key_a_session_is_unbound(packed: bytes | None) -> None:
    """It goes on as ever; where a binding is required, until the grace is over."""
    assert sight(packed, after=10_000) == "unbound"
    assert sight(packed, after=14, required=True) == "unbound"
    assert sight(packed, after=15, required=True) == "unproven"


def test_what_cannot_be_read_proves_nothing() -> None:
    """A damaged binding does not open the session."""
    assert sight(b"\xc1", after=0) == "unproven"


def test_what_is_shown_of_a_device() -> None:
    """Its algorithm, its key's name and times; of one without a key that there is none."""
    binding = bound()
    cookie = pass_for(binding, OPTIONS, int(NOW) + 5, NOW)
    found = judge(facts(binding.packed()), lambda: [cookie], OPTIONS, since=NOW, now=NOW + 20, required=False)
    thumbprint = DeviceKey.read("ES256", KEY.jwk).thumbprint
    registered, proved = datetime.fromtimestamp(NOW, UTC), datetime.fromtimestamp(int(NOW) + 5, UTC)
    assert found.device() == Device("bound", "ES256", thumbprint, registered, proved)
    early = judge(facts(binding.packed()), tuple, OPTIONS, since=NOW, now=NOW, required=False)
    assert early.device() == Device("bound", "ES256", thumbprint, registered, None)
    offer = judge(facts(new_offer().packed(), None), tuple, OPTIONS, since=NOW, now=NOW, required=False)
    assert offer.device() == Device("unbound")
