#!/bin/sh
# Writes .env for docker-compose.yml: .env.example with fresh secrets. An .env that is there gets the secrets that it
# lacks, as a new release may ask for more, and keeps all that it has: the database and stored secrets know no others.
set -eu
umask 077
cd "$(dirname "$0")/../.."

refuse() {
    echo "$1" >&2
    exit 1
}

# The line of a secret, such as "S3_SECRET_KEY=", with a value.
filled() {
    case $1 in
        WEBHOOK_ENCRYPTION_KEY= | MEDIA_SIGNING_KEY=) echo "$1$(head -c 32 /dev/urandom | base64 | tr -d '\n')" ;;
        # Hexadecimal, because most of them stand inside addresses.
        *) echo "$1$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" ;;
    esac
}

# Whether .env says anything of a secret but that it is empty.
has() {
    grep -E "^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*[=:]" .env |
        grep -qvE "^[^=:]*[=:][[:space:]]*(\"\"|'')?[[:space:]]*([[:space:]]#.*)?\$"
}

# `make-env.sh > .env` was the way once: the shell has emptied the file before this begins.
if [ -f .env ] && [ ! -s .env ]; then
    refuse '.env is empty. Had it been filled, take it from a backup, or the values from the containers (`docker inspect`)
before they are made anew. For a new installation remove it. Then run deploy/container/make-env.sh, without `>`.'
fi
if [ -f /dev/stdout ]; then
    refuse 'This writes .env by itself: run deploy/container/make-env.sh, without `>`.'
fi

wanted=
added=
while IFS= read -r line; do
    case $line in
        [A-Z]*=)
            [ ! -f .env ] || ! has "${line%=}" || continue
            wanted="$wanted$(filled "$line")
"
            added="$added ${line%=}"
            ;;
        *)
            [ -f .env ] || wanted="$wanted$line
"
            ;;
    esac
done < .env.example

if [ -z "$added" ]; then
    echo ".env has every secret: nothing was added"
    exit
fi
# Its last line may lack its end.
if [ -f .env ] && [ -n "$(tail -c 1 .env)" ]; then
    wanted="
$wanted"
fi
printf %s "$wanted" >> .env
echo "added to .env:$added"
