#!/bin/sh
# Prints a .env with fresh secrets for docker-compose.yml; everything else in it is left as .env.example has it.
#
#   deploy/container/make-env.sh > .env
set -eu
cd "$(dirname "$0")/../.."
while IFS= read -r line; do
    case $line in
        WEBHOOK_ENCRYPTION_KEY= | MEDIA_SIGNING_KEY=) echo "$line$(head -c 32 /dev/urandom | base64 | tr -d '\n')" ;;
        # Hexadecimal, because most of them stand inside addresses.
        [A-Z]*=) echo "$line$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" ;;
        *) echo "$line" ;;
    esac
done < .env.example
