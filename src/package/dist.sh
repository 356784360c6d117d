#!/usr/bin/env bash
# Static binaries for the machines of a room, with their sums, in target/dist. The same commit, rustc and zig make the same bytes,
# wherever the folders are; built-with.txt says which they were.
#
# usage: src/package/dist.sh [TARGET…]      (all four without one)
set -euo pipefail
cd "$(dirname "$0")/../.."

TARGETS=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf arm-unknown-linux-musleabihf)
# zig brings a C compiler, a linker and musl for every target; with other versions the bytes differ.
ZIG=0.17.1
ZIGBUILD=0.24.1

[ $# -gt 0 ] || set -- "${TARGETS[@]}"
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
dist=$target_dir/dist
version=$(sed -n '/^version = /{s/.*"\(.*\)".*/\1/p;q}' Cargo.toml)

fail() {
    echo "make dist: $*" >&2
    exit 1
}

# A python folder of our own, so that no other zig on this machine is taken.
zig=$target_dir/zig
if ! "$zig/bin/python3" -m ziglang version 2>/dev/null | grep -qx "$ZIG" || [ ! -x "$zig/bin/cargo-zigbuild" ]; then
    # The system's python first, because another one may lack what venv needs.
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import venv, ensurepip' 2>/dev/null && break
    done
    "$python" -m venv "$zig" || fail "python3 with venv is needed (package python3-venv)"
    "$zig/bin/python3" -m pip install --quiet --disable-pip-version-check "ziglang==$ZIG" "cargo-zigbuild==$ZIGBUILD" ||
        fail "ziglang $ZIG and cargo-zigbuild $ZIGBUILD could not be installed from PyPI"
fi
export PATH=$zig/bin:$PATH

# No path of this machine in the binary: ours, those of the crates, those of the standard library.
remap() { printf -- '--remap-path-prefix=%s=%s ' "$1" "$2"; }
sysroot=$(rustc --print sysroot)
flags=$(remap "$PWD/" "")
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do flags+=$(remap "$registry" crates); done
flags+=$(remap "$sysroot/lib/rustlib/src/rust" "/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')")
export RUSTFLAGS=$flags CFLAGS="-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}/registry/src=crates -ffile-prefix-map=$PWD="
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

mkdir -p "$dist"
for target; do
    build=(cargo zigbuild --release --locked --quiet --target "$target")
    case $target in
    arm*)
        # Not every mirror has the standard library for these, so it is built too, always; what cargo calls unstable in that is its flag.
        rustup component add rust-src 2>/dev/null || [ -d "$sysroot/lib/rustlib/src/rust" ] || fail "rust-src is needed: rustup component add rust-src"
        # Startup code and libc are zig's, because none comes with that.
        RUSTFLAGS="$flags -Clink-self-contained=no" RUSTC_BOOTSTRAP=1 "${build[@]}" -Zbuild-std=std,panic_abort
        ;;
    *)
        rustup target add "$target" 2>/dev/null || [ -d "$sysroot/lib/rustlib/$target" ] || fail "rustup target add $target failed"
        "${build[@]}"
        ;;
    esac
    name=minitorrent-$version-$target
    install -m 755 "$target_dir/$target/release/minitorrent" "$dist/$name"
    echo "$(stat -c %s "$dist/$name") bytes: $dist/$name"
done
rustc=$(rustc --version)
printf '%s\nzig %s\ncargo-zigbuild %s\n' "$rustc" "$ZIG" "$ZIGBUILD" >"$dist/built-with.txt"
cd "$dist"
sha256sum minitorrent[-_]* >SHA256SUMS
