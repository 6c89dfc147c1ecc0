"""The measurement of what a bound session costs runs; what it measures, a quiet machine says."""

from __future__ import annotations

from tests.benchmarks import binding


async def test_it_measures_each_case() -> None:
    """In microseconds."""
    figures = await binding.measure(rounds=1, requests=3)
    assert list(figures) == list(binding.CASES)
    assert all(0 < figure < 1e6 for figure in figures.values())
