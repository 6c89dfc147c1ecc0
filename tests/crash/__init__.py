"""A server killed in the middle of its work keeps every write that it answered."""
