"""The documentation's examples, run; its links and tables, checked."""
