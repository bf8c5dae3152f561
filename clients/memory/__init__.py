"""Where frames lie: in ordinary memory, in POSIX shared memory, or on a GPU."""
