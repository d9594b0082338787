#!/bin/sh
# Prints the properties of a container's Kafka Connect worker: the local stack's, at the addresses of docker-compose.yml,
# and before those what the environment says.
#
#   connect-properties.sh deploy/local/connect.properties
#
# Every property has a variable: bootstrap.servers is CONNECT_BOOTSTRAP_SERVERS. An empty one counts as not set. How
# brokers are talked to is said once: security.protocol, sasl.* and ssl.* go for the connector's clients, too, unless
# CONNECT_PRODUCER_*, CONNECT_CONSUMER_* or CONNECT_ADMIN_* say otherwise.
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
# The advertised name is the one by which other workers would reach this one; its listener is on every address.
printf '%s\n' "$properties" "rest.advertised.host.name=connect" | awk '
    BEGIN {
        for (name in ENVIRON) {
            if (name !~ /^CONNECT_./ || ENVIRON[name] == "") continue
            property = tolower(substr(name, length("CONNECT_") + 1))
            gsub(/_/, ".", property)
            value = ENVIRON[name]
            gsub(/\\/, "&&", value)   # as files of properties write it
            gsub(/\n/, "\\n", value)  # a certificate has lines
            said[property] = value
        }
        split("producer consumer admin", clients, " ")
        for (property in said) {
            if (property !~ /^(security\.protocol|sasl\.|ssl\.)/) continue
            for (i in clients) copied[clients[i] "." property] = said[property]
        }
        for (property in copied) if (!(property in said)) said[property] = copied[property]
    }
    { property = $0; sub(/=.*/, "", property) }
    !(property in said)
    END { for (property in said) print property "=" said[property] }
'
