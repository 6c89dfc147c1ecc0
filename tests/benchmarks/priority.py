"""The measurement's priority over other programs, where Linux groups processes by session (sched(7), autogroup)."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def set_priority(nice: int) -> None:
    """Set the priority of this process, its group, and those that they start; needs root to raise it."""
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    if _AUTOGROUP.exists():
        atexit.register(_AUTOGROUP.write_text, _group_priority())
        _AUTOGROUP.write_text(str(nice))


def share_priority(pid: int) -> None:
    """Give the group of a process, which has a session of its own, the priority of this one's."""
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists() and group.read_text().split()[-1] != _group_priority():
        group.write_text(_group_priority())


def _group_priority() -> str:
    return _AUTOGROUP.read_text().split()[-1]
