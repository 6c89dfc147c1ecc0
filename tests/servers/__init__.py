"""Real servers for the tests: started at first use, once a run, on free ports of the loopback, in temporary folders."""
