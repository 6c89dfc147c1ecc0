"""``python -m tests.servers COMMAND``: see :mod:`tests.servers.run`."""

from __future__ import annotations

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
