#!/usr/bin/env bash
# Each binary of `make dist` does the whole main job: those for other machines by emulation (qemu-user-static), each of them also
# with a peer that is this machine's own. Then one target is built again, elsewhere, and must be the same bytes.
#
# usage: src/package/check.sh [TARGET…]      AGAIN= names the target that is built again; none without a value
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/processes.sh
dist=$(realpath "${CARGO_TARGET_DIR:-target}")/dist
megabytes=8
again=${AGAIN-aarch64-unknown-linux-musl}

# What runs a target's binary here, with the oldest processor that the target promises.
runner() {
    case $1 in
    "$(uname -m)"-*) ;;
    x86_64-*) echo qemu-x86_64-static ;;
    aarch64-*) echo qemu-aarch64-static -cpu cortex-a53 ;;
    armv7-*) echo qemu-arm-static -cpu cortex-a7 ;;
    arm-*) echo qemu-arm-static -cpu arm1176 ;;
    *) fail "nothing here runs $1" ;;
    esac
}

# the_program TARGET: its path, the newest if there are several.
the_program() { ls -t "$dist"/minitorrent-*-"$1" | head -1; }

# fetched NAME FILE COMMAND…: the fetch of META ends well, and FILE is what came.
fetched() {
    local out=$folder/$1 file=$2
    shift 2
    mkdir -p "$out"
    "$@" --out "$out" --port 0 --seed-for 0 >"$out.log" 2>&1 || fail "the fetch into $out ended with code $?"
    cmp "$file" "$out/$(basename "$file")" || fail "$out holds another file"
}

# main_job TARGET: tracker, upload, seeder, fetches; the same once more between the binary and one of this machine.
main_job() {
    local target=$1 port url begin run=() native=()
    read -ra run <<<"$(runner "$1")"
    run+=("$(the_program "$1")")
    native=("$(the_program "$(uname -m)-unknown-linux-musl")")
    folder_of=$folder/$target
    mkdir -p "$folder_of"/{tracker,own,seeds}
    local uploaded=$folder_of/own/uploaded.bin seeded=$folder_of/seeds/seeded.bin other=$folder_of/seeds/other.bin
    for file in "$uploaded" "$seeded" "$other"; do head -c "${megabytes}M" /dev/urandom >"$file"; done

    begin=$(date +%s.%N)
    local version
    version=$("${run[@]}" --version)
    case $version in *"$target)"*) ;; *) fail "it says that it is $version" ;; esac
    port=$(free_port 15000)
    start "$target.tracker" "${run[@]}" tracker --port "$port" --seed-port 0 --data "$folder_of/tracker"
    wait_for "the tracker listens" listens "$port"
    url=http://127.0.0.1:$port
    curl -sSf -T "$uploaded" "$url/" >/dev/null || fail "the upload was refused"
    fetched "$target/first" "$uploaded" "${run[@]}" fetch "$url/metainfos/uploaded.bin.json"
    fetched "$target/second" "$uploaded" "${run[@]}" fetch "$url/metainfos/uploaded.bin.torrent"

    start "$target.seeder" "${run[@]}" seed "$seeded" --tracker "$url/announce" --port 0 --out "$folder_of/seeded.json"
    wait_for "the seeder wrote its metainfo" test -s "$folder_of/seeded.json"
    fetched "$target/mixed" "$seeded" "${native[@]}" fetch "$folder_of/seeded.json"
    start "$target.other" "${native[@]}" seed "$other" --tracker "$url/announce" --port 0 --out "$folder_of/other.json"
    wait_for "this machine's seeder wrote its metainfo" test -s "$folder_of/other.json"
    fetched "$target/other" "$other" "${run[@]}" fetch "$folder_of/other.json"
    "${run[@]}" verify "$folder_of/seeded.json" --dir "$folder_of/mixed" >/dev/null || fail "what came does not verify"

    # With TLS it tells a certificate that nobody vouches for from a server that is not there.
    port=$(free_port 15443)
    start "$target.https" openssl s_server -accept "$port" -cert "$folder/self.pem" -key "$folder/self.key" -www
    wait_for "the https server listens" listens "$port"
    "${run[@]}" show "https://127.0.0.1:$port/a.json" >"$folder_of/https.log" 2>&1 && fail "it trusts anybody's certificate"
    grep -qi certificate "$folder_of/https.log" || fail "no TLS: $(cat "$folder_of/https.log")"
    printf '%-32s %9d bytes   main job, mixed, TLS: right, in %6s s   %s\n' "$target" "$(stat -c %s "${run[-1]}")" "$(since "$begin")" "$version"
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    started=()
}

# same_bytes TARGET: built from a copy of the commit, in other folders, it is the same file.
same_bytes() {
    [ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "not built again: there are changes that no commit holds"; return; }
    mkdir -p "$folder/elsewhere/source" "$folder/elsewhere/cargo"
    git archive HEAD | tar -x -C "$folder/elsewhere/source"
    ln -s "$(realpath "${CARGO_HOME:-$HOME/.cargo}")/registry" "$folder/elsewhere/cargo/registry"
    ln -s "$dist/../zig" "$folder/elsewhere/zig"
    MINITORRENT_COMMIT=$(git rev-parse --short=12 HEAD) SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) \
        CARGO_HOME=$folder/elsewhere/cargo CARGO_TARGET_DIR=$folder/elsewhere \
        "$folder/elsewhere/source/src/package/dist.sh" "$1" >"$folder/again.log" 2>&1 || fail "the second build failed"
    cmp "$(the_program "$1")" "$folder"/elsewhere/dist/minitorrent-*-"$1" || fail "two builds of $1 differ"
    echo "$1: built again in other folders, it is the same bytes"
}

for tool in curl openssl qemu-aarch64-static qemu-arm-static; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install qemu-user-static curl openssl" >&2; exit 2; }
done
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=nobody -days 2 -keyout "$folder/self.key" -out "$folder/self.pem" 2>/dev/null
(cd "$dist" && sha256sum --check --quiet SHA256SUMS) || fail "the sums are wrong"
if [ $# = 0 ]; then
    mapfile -t targets < <(sed -n 's/.*minitorrent-[^-]*-//p' "$dist/SHA256SUMS")
    set -- "${targets[@]}"
fi
for target; do main_job "$target"; done
for target in $again; do same_bytes "$target"; done
