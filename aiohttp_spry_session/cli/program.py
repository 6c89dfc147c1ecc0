"""The program around a command: arguments, log records, exit codes."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..events import logger as library_log
from .arguments import read_arguments
from .commands import carry_out
from .errors import CommandError, line_of
from .output import Output

__all__ = ["main"]

_MAX_NOTES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command that the arguments name; return the exit code.

    0 where it was done, 1 where something failed or was not found, 2 for a wrong command. What is wrong is one line on
    standard error; with ``--debug`` the traceback comes before it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    for stream in sys.stdout, sys.stderr:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = read_arguments(arguments, os.environ)
        output = Output(sys.stdout, sys.stderr, as_json=options.json, values=getattr(options, "values", False))
        with _log_records(debug) as records:
            asyncio.run(carry_out(options, output, os.environ))
        for record in records:
            output.note(record)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - an operator gets one line, whatever it is
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"spry-session: error: {line_of(error)}\n")
        return error.code if isinstance(error, CommandError) else CommandError.code
    return 0


@contextmanager
def _log_records(debug: bool) -> Iterator[list[str]]:
    """Collect what the library logs, such as of corrupt records: where a command fails, its one line says enough."""
    records: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if len(records) < _MAX_NOTES:
                records.append(" ".join(record.getMessage().split()))

    handler = logging.StreamHandler() if debug else Collect(logging.WARNING)
    propagate, library_log.propagate = library_log.propagate, False
    library_log.addHandler(handler)
    try:
        yield records
    finally:
        library_log.removeHandler(handler)
        library_log.propagate = propagate
