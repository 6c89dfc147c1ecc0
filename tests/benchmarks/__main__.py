"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import fnmatch

from . import __doc__ as description
from . import cohort, contention, micro, scale, steps, whole
from .cases import names
from .peers import measure as peers
from .priority import set_priority

_PARTS = ("all", "whole", "steps", "micro", "scale", "contention", "cohort", "peers", "report")


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    args = _parser().parse_args(arguments)
    if args.list:
        print("\n".join(names()))
        return
    if args.nice:
        set_priority(args.nice)
    if args.part in ("micro", "all"):
        micro.run()
    if args.part in ("steps", "all"):
        steps.run()
    if args.part in ("whole", "all"):
        whole.run(
            _selected(args.only),
            loops=(args.loops or ("asyncio,uvloop" if args.part == "all" else "asyncio")).split(","),
            rounds=args.rounds,
            seconds=args.seconds,
            store=args.only is None,
        )
    if args.part in ("contention", "all"):
        contention.run()
    if args.part in ("cohort", "all"):
        cohort.run(rounds=args.rounds, seconds=args.seconds)
    if args.part in ("peers", "all"):
        only = args.only.split(",") if args.only and args.part == "peers" else None
        peers.run(rounds=args.rounds, seconds=args.seconds, frameworks=only)
    if args.part in ("scale", "all"):
        scale.run()
    if args.part in ("report", "all"):
        from .page import report  # needs matplotlib, which measuring does not

        report()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", default="all", choices=_PARTS)
    parser.add_argument("--only", help="names of measurements, or patterns, with commas (whole); frameworks (peers)")
    parser.add_argument("--list", action="store_true", help="print the names of all measurements (whole)")
    parser.add_argument("--loops", help="asyncio, uvloop, or both with a comma (whole)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured (whole, cohort, peers)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a slice (whole, cohort, peers)")
    parser.add_argument("--nice", type=int, default=0, help="priority of all processes, as of nice(1)")
    return parser


def _selected(only: str | None) -> list[str]:
    if only is None:
        return names()
    patterns = only.split(",")
    unknown = [pattern for pattern in patterns if not fnmatch.filter(names(), pattern)]
    if unknown:
        raise SystemExit(f"no measurement is called {', '.join(unknown)}: --list prints the names")
    return [name for name in names() if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


if __name__ == "__main__":
    main()
