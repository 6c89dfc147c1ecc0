"""Requests that are ready do their work before the first of them sends; whoever is alone waits for nobody."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session.cohort import ALONE, Cohort


async def turns(cohort: Cohort, requests: int) -> list[bool]:
    """Whether each of so many requests, one after the other, let the loop go on."""
    went_on = []
    for _ in range(requests):
        marks: list[None] = []
        handle = asyncio.get_running_loop().call_soon(marks.append, None)
        await cohort.gather()
        went_on.append(bool(marks))
        handle.cancel()
    return went_on


async def together(cohort: Cohort, requests: int) -> list[str]:
    """What so many requests that begin in one turn did, in order."""
    done: list[str] = []

    async def request() -> None:
        done.append("work")
        await cohort.gather()
        done.append("send")

    await asyncio.gather(*(request() for _ in range(requests)))
    return done


@pytest.mark.parametrize("requests", [2, 3, 32])
async def test_all_that_are_ready_work_before_the_first_sends(requests):
    """Two are company; and so it goes on, cohort after cohort."""
    cohort = Cohort()
    for _ in range(3):
        assert await together(cohort, requests) == ["work"] * requests + ["send"] * requests


async def test_one_at_a_time_pays_for_one_turn_in_many():
    """Whoever had no company lets the next ones go without a turn, until one tries again."""
    tries = [True] + [False] * ALONE
    assert await turns(Cohort(), 3 * len(tries)) == 3 * tries


async def test_company_is_found_again():
    """A server that was quiet tries with some request, and then with each."""
    cohort = Cohort()
    await turns(cohort, 1)
    assert await together(cohort, ALONE) == ["work", "send"] * ALONE
    assert await together(cohort, 2) == ["work", "work", "send", "send"]


async def test_who_comes_while_a_cohort_sends_is_of_the_next():
    """It is no company for those that send, and the turn after tells whether it has any."""
    cohort = Cohort()
    done: list[str] = []

    async def request(name: str, then: str | None = None) -> None:
        await cohort.gather()
        done.append(name)
        if then is not None:
            await request(then)

    await asyncio.gather(request("a", then="c"), request("b", then="d"))
    assert done == ["a", "b", "c", "d"]
    assert (await turns(cohort, 1)) == [True]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_who_gives_up_was_company_all_the_same(cancelled):
    """A client that is gone leaves the count of a cohort right, also where it was the first of it."""
    cohort = Cohort()
    requests = [asyncio.ensure_future(cohort.gather()) for _ in range(2)]
    asyncio.get_running_loop().call_soon(requests[cancelled].cancel)
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [cancelled == 0, cancelled == 1]
    assert await turns(cohort, 2) == [True, False]
