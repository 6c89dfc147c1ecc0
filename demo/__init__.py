"""A small tea shop that shows what server-side sessions do. Start it with ``python -m demo``."""
