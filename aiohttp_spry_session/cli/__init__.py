"""The operators' command line: sessions of any store listed, counted, ended and copied."""

from .program import main

__all__ = ["main"]
