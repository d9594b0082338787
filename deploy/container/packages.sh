#!/bin/sh
# Prints the Debian packages of one section of a package list, one a line.
#
#   packages.sh LIST SECTION
#
# A section starts at a line `## NAME`. The container image installs one section of the list that bootstrap installs
# whole, so the two cannot drift apart.
set -eu
list=$1
section=$2
found=$(awk -v wanted="## $section" '
    /^## / { inside = ($0 == wanted); next }
    inside { sub(/#.*/, ""); if (NF) print $1 }
' "$list")
if [ -z "$found" ]; then
    echo "packages.sh: $list has no section \"$section\", or it is empty" >&2
    exit 2
fi
echo "$found"
