#!/bin/sh
# Starts a container's Kafka Connect worker, with the properties that its environment makes.
set -eu
umask 077 # there may be a password among them
/opt/connect/connect-properties.sh /opt/connect/connect.properties >/tmp/connect.properties
exec /opt/connect/late-timers.sh /opt/kafka/bin/connect-distributed.sh /tmp/connect.properties
