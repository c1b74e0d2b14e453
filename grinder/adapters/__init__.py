"""Floor 4: the world behind the ports: clocks, sockets, shared memory, files, the venue's wire. Never decides."""
