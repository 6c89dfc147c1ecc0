"""The operators' command line: ``python -m aiohttp_spry_session``, installed as ``spry-session`` too."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
