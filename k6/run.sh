#!/usr/bin/env bash
# Runs upload.js with k6 against the stack that `medialane stack up` has started, as a tenant of its own.
#
#   k6/run.sh [K6-ARGUMENT...]      such as -e VUS=4 -e RAMP=5s -e HOLD=20s; FILE=photo.jpg in the environment
#
# k6 is not installed by anything here: see docs/decisions/0031-clients-that-others-wrote.md.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'k6: %s. %s\n' "$1" "$2" >&2; exit 2; }

command -v k6 >/dev/null || fail "there is no k6 on this machine" "Install it: https://grafana.com/docs/k6/latest/set-up/install-k6"
env=.local/stack/default/env
[[ -f $env ]] || fail "no stack runs here" "Start one: .venv/bin/medialane stack up"
. "$env"

tenant=k6-$(date +%s)
.venv/bin/medialane tenants create "$tenant" >/dev/null
key=$(.venv/bin/medialane keys mint "$tenant")
file=${FILE:-$(.venv/bin/python -c 'from cli.harness.samples import find_samples; print(find_samples().photos[0])')}
exec k6 run -e BASE_URL="$MEDIALANE_URL" -e API_KEY="$key" -e FILE="$(realpath "$file")" "$@" k6/upload.js
