"""Open sockets and streams end when their session does, wherever that was ended."""
