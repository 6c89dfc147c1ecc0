"""Runs the shell sessions of the documentation and compares what they print."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from .blocks import ROOT

__all__ = ["Command", "differs", "names_in", "read_commands", "run"]

_MASKS = [
    (re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])"), "<identifier>"),
    (re.compile(r"(?<!\w)[0-9a-f]{64}(?!\w)"), "<handle>"),
    (re.compile(r"(?<!\w)[0-9a-f]{12}(?!\w)"), "<id>"),
    (re.compile(r"^Date: .*"), "Date: <date>"),
    (re.compile(r"^Server: .*"), "Server: <server>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z| UTC)?"), "<time>"),
    (re.compile(r"curl/[\d.]+"), "curl/<version>"),
    (re.compile(r"^\d+ passed in \d+\.\d+s$"), "<n> passed"),
    (re.compile(r" +\[ *\d+%\]"), ""),
]
_NAME = re.compile(r"(?<![\w-])(?:[\w-]{43}|[0-9a-f]{64}|[0-9a-f]{12})(?![\w-])")


@dataclass
class Command:
    """A command as typed, and the lines that it is said to print."""

    text: str
    expected: list[str]


def read_commands(text: str) -> list[Command]:
    """Split a shell session into commands; a line that ends in a backslash goes on in the next."""
    commands: list[Command] = []
    going_on = False
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:], []))
        elif going_on:
            commands[-1].text += "\n" + line.removeprefix("> ")
        else:
            commands[-1].expected.append(line)
            continue
        going_on = line.endswith("\\")
    return commands


async def run(command: str, folder: Path) -> list[str]:
    """Run a command in the folder and return the lines it prints."""
    (folder / ".curlrc").write_text("silent\nshow-error\n")
    command_line = folder / ".bin" / "spry-session"  # as it is in this tree, installed or not
    command_line.parent.mkdir(exist_ok=True)
    command_line.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aiohttp_spry_session "$@"\n')
    command_line.chmod(0o755)
    environment = {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(map(str, (command_line.parent, Path(sys.executable).parent, os.environ["PATH"]))),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider -o asyncio_default_fixture_loop_scope=function",
    }
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode().replace("\r\n", "\n").splitlines()


def differs(expected: list[str], printed: list[str]) -> bool:
    """Whether the output is another than the page says; a line ``...`` stands for any lines."""
    wanted, got = _normalised(expected), _normalised(printed)
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in wanted)
    return re.fullmatch(pattern, "".join(line + "\n" for line in got)) is None


def names_in(expected: list[str], printed: list[str]) -> dict[str, str]:
    """Return the random names that a page shows, with those that were printed in their place this time."""
    if "..." in expected:
        return {}
    shown, real = (_NAME.findall("\n".join(lines)) for lines in (expected, printed))
    return dict(zip(shown, real, strict=True))


def _normalised(lines: list[str]) -> list[str]:
    result = []
    for line in lines:
        line = line.rstrip()
        for mask, name in _MASKS:
            line = mask.sub(name, line)
        result.append(line)
    while result and not result[-1]:
        result.pop()
    return result
