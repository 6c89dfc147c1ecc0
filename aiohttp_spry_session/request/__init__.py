"""One request's session: what it knows and decides, without any I/O, and the driver that carries that out."""
