#!/usr/bin/env bash
# Shows that `make demo` needs nothing but Debian 12 with git and make: builds such a system with debootstrap in a folder of
# its own, clones this repository (what is committed) into it, and runs make there. As root, with debootstrap.
#
#   deploy/chroot-demo.sh [MAKE-ARGUMENT...]        (default: demo)
#
# DEBIAN_MIRROR  where packages come from; default: what this machine's apt uses
# CHROOT_DIR     the folder, kept afterwards; default: a temporary one, deleted
# Certificate and proxy settings of this shell (SSL_CERT_FILE, PIP_CERT, *_proxy, PIP_*, UV_*) go in with it.
set -euo pipefail

fail() { printf 'chroot-demo: %s. %s\n' "$1" "$2" >&2; exit "${3:-1}"; }

[[ $(id -u) -eq 0 ]] || fail "only root can make a chroot" "Run it with sudo."
command -v debootstrap >/dev/null || fail "there is no debootstrap" "apt-get install debootstrap"

# Namespaces of its own for mounts and processes: however this ends, kill -9 too, none of them is left.
if [[ -z ${CHROOT_DEMO_INSIDE:-} ]]; then
    exec unshare --mount --pid --fork --kill-child env CHROOT_DEMO_INSIDE=1 "$0" "$@"
fi

repository=$(cd "$(dirname "$0")/.." && git rev-parse --show-toplevel)
if [[ -n ${CHROOT_DIR:-} ]]; then
    chroot_dir=$CHROOT_DIR
    mkdir -p "$chroot_dir"
else
    chroot_dir=$(mktemp -d -t medialane-chroot.XXXXXX)
    trap 'umount --recursive "$chroot_dir/proc" "$chroot_dir/dev" 2>/dev/null; rm -rf --one-file-system "$chroot_dir"' EXIT
fi

mirror() {
    local found
    found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        grep -oE '^(URIs:|deb( \[[^]]*\])?) +(https?://[^ ]+/debian/?)( |$)' | grep -oE 'https?://[^ ]+' | head -n 1)
    printf '%s' "${DEBIAN_MIRROR:-$found}"
}

build() {
    [[ ! -e $chroot_dir/etc/debian_version ]] || return 0
    local from  # none: debootstrap knows Debian's own
    from=$(mirror)
    chmod 755 "$chroot_dir"  # Postgres runs as a user of its own, who has to get in
    debootstrap --variant=minbase --include=git,make bookworm "$chroot_dir" ${from:+"$from"}
    rm -rf "$chroot_dir"/var/cache/apt/archives/*.deb
}

mount_system() {
    mount -t proc proc "$chroot_dir/proc"
    mount -t tmpfs -o mode=755 tmpfs "$chroot_dir/dev"
    local device
    for device in null zero full random urandom tty; do
        touch "$chroot_dir/dev/$device"
        mount --bind "/dev/$device" "$chroot_dir/dev/$device"
    done
    ln -s /proc/self/fd "$chroot_dir/dev/fd"
    mkdir -m 1777 "$chroot_dir/dev/shm"
    cp -L /etc/resolv.conf /etc/hosts "$chroot_dir/etc/"
}

# Where this machine trusts one more certificate authority, so must the system inside: Python by variables, Java by
# this machine's own store.
trust() {
    local bundle=${SSL_CERT_FILE:-${PIP_CERT:-}}
    [[ -n $bundle && -r $bundle ]] || return 0
    cp -L "$bundle" "$chroot_dir/etc/extra-ca.pem"
    passed+=(SSL_CERT_FILE=/etc/extra-ca.pem PIP_CERT=/etc/extra-ca.pem)
    if [[ -r /etc/ssl/certs/java/cacerts ]]; then
        cp -L /etc/ssl/certs/java/cacerts "$chroot_dir/etc/extra-cacerts"
        passed+=("MAVEN_OPTS=-Djavax.net.ssl.trustStore=/etc/extra-cacerts")
    fi
}

pass_settings() {
    local name
    for name in $(compgen -e | grep -E '^(https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|PIP_(INDEX_URL|DEFAULT_TIMEOUT)|UV_(INDEX_URL|HTTP_TIMEOUT)|KEEP)$' || true); do
        passed+=("$name=${!name}")
    done
}

passed=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}")
build
mount_system
pass_settings
trust
rm -rf "$chroot_dir/root/medialane"
git clone --quiet --no-hardlinks "$repository" "$chroot_dir/root/medialane"
begun=$SECONDS
chroot "$chroot_dir" env -i "${passed[@]}" make -C /root/medialane "${@:-demo}"
printf 'chroot-demo: make %s took %d s there\n' "${*:-demo}" "$((SECONDS - begun))"
if [[ ${*:-demo} == demo ]]; then # what `make bench` shows as demo_cold_s
    mkdir -p "$repository/build"
    printf '{"seconds": %d}\n' "$((SECONDS - begun))" >"$repository/build/demo-cold.json"
fi
