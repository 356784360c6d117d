#!/usr/bin/env bash
# Installs what the tests against real clients and the bench need, by name, where it may; says plainly what will be skipped where it may not.
# With `bench`, also what only the bench needs. Fast when everything is there. It never fails: the tests run with what there is, and say aloud what they skip.
set -u
cd "$(dirname "$0")/.."

LIBTORRENT=2.0.13
RQBIT=9.1.0
AQUATIC=0.9.0
CARGO_DEB=3.8.0
AXE=0.1.8 # a package that brings axe-core along, which finds what keeps people out of a page
clients=${CARGO_TARGET_DIR:-target}/clients # a python of its own, where tests/suite/house/clients.rs looks for it

tools=${CARGO_TARGET_DIR:-target}/tools     # what is built from crates.io, and kept

# The command that shows that a package is there, and the package.
needs="aria2c:aria2 transmission-daemon:transmission-daemon opentracker:opentracker mktorrent:mktorrent
       chromium:chromium chromedriver:chromium-driver ip:iproute2 tc:iproute2 ss:iproute2 nft:nftables curl:curl
       openssl:openssl prlimit:util-linux python3:python3 wrk:wrk faketime:faketime mkfs.ext4:e2fsprogs
       debootstrap:debootstrap groff:groff-base fish:fish zsh:zsh systemd-analyze:systemd dpkg-deb:dpkg nsenter:util-linux"

say() { printf 'setup: %s\n' "$*"; }
has() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }
has_libtorrent() { "$clients/bin/python" -c "import libtorrent; assert libtorrent.version.startswith('$LIBTORRENT')" 2>/dev/null; }
has_rqbit() { "$tools/bin/rqbit" --version 2>/dev/null | grep -q "rqbit $RQBIT"; }
has_aquatic() { [ -x "$tools/bin/aquatic_udp" ] && [ -x "$tools/bin/aquatic_udp_load_test" ]; }
has_cargo_deb() { PATH=$tools/bin:$PATH cargo deb --version 2>/dev/null | grep -q " $CARGO_DEB$"; }
has_debian() { [ -e "$tools/debian/usr/bin/curl" ]; }
has_axe() { ls "$clients"/lib/python3*/site-packages/axe_playwright_python/axe.min.js >/dev/null 2>&1; }
# A python that can make a folder of its own; the system's first, because another one may lack what venv needs.
python_with_venv() {
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import venv, ensurepip' 2>/dev/null && echo "$python" && return
    done
    return 1
}

missing=$(for need in $needs; do has "${need%:*}" || echo "${need#*:}"; done | sort -u)
has_libtorrent || python_with_venv >/dev/null || missing="$missing python3-venv"
missing=$(echo $missing)

if [ -n "$missing" ]; then
    if ! has apt-get; then
        say "no apt-get here, so these are not installed: $missing"
    elif [ "$(id -u)" != 0 ]; then
        say "not root, so these are not installed: $missing (apt-get install $missing)"
    else
        say "installing $missing"
        # No daemon starts by being installed: the tests start their own.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # One by one, so that a name that this system does not know costs only itself.
        for package in $missing; do apt-get install -yqq --no-install-recommends "$package" >/dev/null; done
    fi
fi

if ! has_libtorrent; then
    if python=$(python_with_venv); then
        say "installing libtorrent $LIBTORRENT from PyPI into $clients"
        "$python" -m venv "$clients" && "$clients/bin/python" -m pip install --quiet --disable-pip-version-check "libtorrent==$LIBTORRENT"
    fi
    has_libtorrent || say "libtorrent $LIBTORRENT could not be installed"
fi

if ! has_axe && [ -x "$clients/bin/python" ]; then
    say "installing axe-core (axe-playwright-python $AXE) from PyPI into $clients"
    "$clients/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "axe-playwright-python==$AXE"
fi

if ! has_rqbit && has cargo; then
    say "building rqbit $RQBIT from crates.io into $tools; that takes five minutes on two cores, once"
    # Built apart, so that no `cargo clean` of ours takes it along, and nothing of it stays but the program.
    build=$(mktemp -d) && CARGO_TARGET_DIR=$build cargo install --quiet --locked --root "$tools" "rqbit@$RQBIT" && rm -rf "$build"
fi

if [ "${1:-}" = bench ] && ! has_aquatic && has cargo; then
    say "building aquatic_udp $AQUATIC from crates.io into $tools; that takes two minutes on two cores, once"
    # Its figures for Prometheus are built with a crate that today's compiler refuses.
    build=$(mktemp -d) &&
        CARGO_TARGET_DIR=$build cargo install --quiet --locked --root "$tools" "aquatic_udp@$AQUATIC" --no-default-features --features mimalloc &&
        CARGO_TARGET_DIR=$build cargo install --quiet --locked --root "$tools" "aquatic_udp_load_test@$AQUATIC" && rm -rf "$build"
fi

if ! has_cargo_deb && has cargo; then
    say "building cargo-deb $CARGO_DEB from crates.io into $tools; that takes two minutes on two cores, once"
    build=$(mktemp -d) && CARGO_TARGET_DIR=$build cargo install --quiet --locked --root "$tools" "cargo-deb@$CARGO_DEB" && rm -rf "$build"
fi

# A system in a folder, for the tests of the package: of this release of Debian, from where this machine's own packages come.
if ! has_debian && has debootstrap && [ "$(id -u)" = 0 ]; then
    say "unpacking a small Debian into $tools/debian; that takes two minutes, once"
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | grep " $(. /etc/os-release && echo "$VERSION_CODENAME")$" | head -n 1)
    rm -rf "$tools/debian.part"
    mkdir -p "$tools/debian.part"
    # Root's own umask may keep others out; the system's folders must not.
    (umask 022 && debootstrap --variant=minbase --include=curl,systemd,systemd-sysv "${mirror#* }" "$tools/debian.part" "${mirror% *}" >"$tools/debootstrap.log" 2>&1) &&
        rm -rf "$tools/debian" && mv "$tools/debian.part" "$tools/debian"
fi

# What will be skipped, in one line each.
for need in $needs; do
    has "${need%:*}" || say "${need%:*} is missing (package ${need#*:}): the tests that need it will be skipped"
done
has_axe || say "axe-core is missing: the page is not checked for what keeps people out"
has_libtorrent || say "libtorrent is missing: its rows of the matrix will be skipped"
has_cargo_deb || say "cargo-deb $CARGO_DEB is missing: the Debian package is not tested"
has_debian || say "there is no Debian in $tools/debian: nothing is installed on a machine that has nothing"
[ "${1:-}" != bench ] || has_aquatic || say "aquatic_udp is missing: the bench does not measure announces over UDP"
has_rqbit || say "rqbit $RQBIT is missing: its rows of the matrix will be skipped"
[ "$(id -u)" = 0 ] || say "not root: the tests on hosts of their own (network namespaces) will be skipped"
exit 0
