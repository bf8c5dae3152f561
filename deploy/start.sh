#!/usr/bin/env bash
# Starts a server after removing what one that crashed left in /dev/shm, which outlives its container with IPC_MODE=host:
# the Python backend's regions, whose names begin with PREFIX, and that belong to this user.
# Usage: start.sh PREFIX COMMAND...
set -euo pipefail

prefix=${1:?a prefix}
shift
find /dev/shm -maxdepth 1 -type f -user "$(id -u)" -name "$prefix*" -delete
exec "$@"
