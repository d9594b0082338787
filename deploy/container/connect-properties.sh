#!/bin/sh
# Prints the properties of the container's Kafka Connect worker: the local stack's, at the addresses of docker-compose.yml.
#
#   connect-properties.sh deploy/local/connect.properties
set -eu
properties=$(sed -e 's|127\.0\.0\.1:{{kafka_port}}|kafka:9092|' \
    -e 's|http://127\.0\.0\.1:{{port}}|http://0.0.0.0:8083|' \
    -e 's|{{plugins}}|/opt/connect/plugins|' "$1")
case $properties in
    *'{{'* | *127.0.0.1*)
        echo "connect-properties.sh: $1 has an address that is not known here" >&2
        exit 2
        ;;
esac
echo "$properties"
# The name by which other workers would reach this one; its listener is on every address.
echo "rest.advertised.host.name=connect"
