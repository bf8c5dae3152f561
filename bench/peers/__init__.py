"""This project's server on the CPU against what others would pick: the command is ``python -m bench.peers``."""
