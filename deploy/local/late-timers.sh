#!/bin/sh
# Runs a command whose timed waits may end up to a millisecond late; for Connect, see docs/decisions/0034.
#
#   late-timers.sh COMMAND [ARGUMENT...]
{ echo 1000000 >/proc/self/timerslack_ns; } 2>/dev/null
exec "$@"
