#!/bin/sh
# Software OpenGL, for rendering without a GPU: installed where that is allowed, named where not.
set -eu

packages="libegl1 libgl1-mesa-dri libosmesa6"
if [ "$(uname)" != Linux ]; then
    exit 0 # the system's own OpenGL renders
fi
if ! command -v apt-get >/dev/null; then
    echo "note: roboloop renders with EGL or OSMesa; Debian calls the packages $packages" >&2
    exit 0
fi
missing=""
for package in $packages; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
    sudo="sudo -n"
    if ! $sudo true 2>/dev/null; then
        echo "error: system packages for rendering are missing:$missing" >&2
        echo "hint: sudo apt-get install$missing, then run the same command again" >&2
        exit 1
    fi
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
