#!/usr/bin/env bash
# A Debian package of a binary that is built already.
#
# usage: src/package/deb.sh TARGET OUT                    such as aarch64-unknown-linux-musl target/dist
#        src/package/deb.sh "" OUT dev [OPTION…]          of what `cargo build` made, linked dynamically, for the tests
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1 out=$2 profile=${3:-release}
PATH=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools/bin:$PATH
export PATH

CARGO=${CARGO:-cargo}
"$CARGO" deb --version >/dev/null 2>&1 || { echo "cargo-deb is not installed: cargo install cargo-deb" >&2; exit 2; }
# Where cargo-deb looks for what it packs, beside the binary.
folder=${profile/#dev/debug}
documents=${CARGO_TARGET_DIR:-target}/${target:+$target/}$folder/documents
rm -rf "$documents"
"$CARGO" run --quiet --locked --example documents -- "$documents"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
case $out in *.deb) mkdir -p "$(dirname "$out")" ;; *) mkdir -p "$out" ;; esac
"$CARGO" deb --no-build --no-strip --quiet --locked --profile "$profile" ${target:+--target "$target"} --output "$out" "${@:4}"
