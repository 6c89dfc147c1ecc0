"""Sessions of other frameworks, each beside the bare server of its own: one small server a file."""
