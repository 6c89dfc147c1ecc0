"""The headers as browsers speak them."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from aiohttp_spry_session.dbsc.headers import RESPONSE, only_value, write_challenge, write_registration


def test_registration() -> None:
    """A list of algorithms, with where and what to prove."""
    assert (
        write_registration(("ES256", "RS256"), "/.dbsc/register", "c.1")
        == '(ES256 RS256);path="/.dbsc/register";challenge="c.1"'
    )


def test_challenge() -> None:
    """A string, and which device session it is for."""
    assert write_challenge("c.1", "SPRY_SESSION_ID-bound") == '"c.1";id="SPRY_SESSION_ID-bound"'


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["a.b.c"], "a.b.c"),
        (['"a.b.c"'], "a.b.c"),
        ([" a.b.c\t"], "a.b.c"),
        ([""], ""),
        (['"'], '"'),
        (['""'], ""),
        (["a", "b"], None),
    ],
)
def test_a_value_is_there_once(values: list[str], expected: str | None) -> None:
    """Bare or in quotes; of two nobody knows which is meant."""
    assert only_value(CIMultiDict((RESPONSE, value) for value in values), RESPONSE) == expected
