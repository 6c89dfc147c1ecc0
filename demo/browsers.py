"""What to call a browser in a list."""

from __future__ import annotations

__all__ = ["browser_name"]

# The order matters: most browsers claim to be others too.
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
MAX_LENGTH = 40


def browser_name(user_agent: str) -> str:
    """Return a short name; the header may hold anything, so an unknown one is cut to its first printable word."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in SYSTEMS if mark in user_agent), None)
    if browser is not None:
        return browser if system is None else f"{browser} on {system}"
    word = "".join(character for character in user_agent.split(" ")[0] if character.isprintable())[:MAX_LENGTH]
    return word or "An unknown browser"
