"""Benchmarks of aiohttp-spry-session: ``python -m tests.benchmarks`` (``make bench``), from the project's root.

Without a command everything is measured, and the documentation's page and plots are drawn from the results; a command
measures one part, and stores its results in ``bench-results/`` as JSON:

- ``whole``: a real server on core 0, a load generator (wrk where it is installed) on core 1, 32 connections, 64
  sessions. All variants run at the same time and are measured in turns, in slices of a second, so that whatever else
  the machine does falls on all of them. Figures are ratios to bare aiohttp in the same run.
- ``micro``: cost of each operation and of the middleware, in process.
- ``scale``: cost per operation, bytes per session and the event loop's longest pause, at up to a million sessions.
- ``contention``: 1 to 64 parallel writers of one session.
- ``cohort``: the same server with and without the turn of the loop in which requests gather before they send, at 1 to
  128 connections.
- ``peers``: sessions of other libraries and frameworks, each beside the bare server of its own framework, in one run
  and on the same cores; those on node are installed from npm, or left out where there is no node.
- ``report``: draws the plots and writes the page from ``bench-results/``.

A quick look while optimising, on asyncio only::

    python -m tests.benchmarks whole --only bare,memory-read,sqlite-read --rounds 5 --seconds 1

``--only`` takes names of the form ``VARIANT-CASE``, where a shell pattern such as ``memory-*`` or ``*-read`` does too;
``--list`` prints them all. ``--loops asyncio,uvloop`` measures on both loops. The column ``cpu`` is the ratio of the
servers' processor time per request: other programs on the machine disturb it less than the throughput, and without
them it is what the throughput would be of a server that never has to wait. ``busy`` is how much of its core the server
used. On a machine that is shared, ``--nice -15`` (as root) puts other programs off for the time of the measurement.
"""
