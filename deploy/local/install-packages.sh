#!/usr/bin/env bash
# Installs Debian packages as root, and lets none of them start a service: Medialane runs its own Postgres, and nobody
# asked for another one, or for a Prometheus, on this machine. Called by bootstrap.sh: install-packages.sh PACKAGE...
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt=(apt-get --yes --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)

# invoke-rc.d asks this file; 101 means "do not". Somebody else's policy is left alone.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

"${apt[@]}" update
if [[ " $* " == *" postgresql-15 "* ]]; then
    # The server's package makes a cluster of its own unless this says no; the file's other settings stay, and the
    # file is put back afterwards.
    "${apt[@]}" install postgresql-common
    settings=/etc/postgresql-common/createcluster.conf
    before=$(mktemp)
    cp -p "$settings" "$before"
    sed -i '/^[[:space:]]*#\{0,1\}[[:space:]]*create_main_cluster/d' "$settings"
    echo 'create_main_cluster = false' >>"$settings"
    restore() { cp -p "$before" "$settings" && rm -f "$before"; }
    "${apt[@]}" install "$@" || { restore; exit 1; }
    restore
else
    "${apt[@]}" install "$@"
fi

# Not at the next boot either.
if [[ " $* " == *" prometheus "* && -d /run/systemd/system ]]; then
    systemctl disable prometheus.service
fi
