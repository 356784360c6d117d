#!/usr/bin/env bash
# One seeder and one fetcher on loopback, beside what any program must at least do: hash the file and copy it. Medians.
#
# usage: tests/bench/pair.sh MINITORRENT [MEBIBYTES] [RUNS]
set -euo pipefail
binary=$(realpath "$1")
mebibytes=${2:-1024}
runs=${3:-3}
source "$(dirname "$0")/../processes.sh"

# measure NAME COMMAND…: adds the seconds that it takes to NAME.
measure() {
    local from
    from=$(date +%s.%N)
    "${@:2}" >"$folder/$1.log" 2>&1 </dev/null || fail "$*"
    since "$from" >>"$folder/$1"
    echo >>"$folder/$1"
}
median() { sort -n "$folder/$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

mkdir "$folder"/{source,tracker}
file=$folder/source/file.bin
meta=$folder/file.torrent
head -c "$((mebibytes * 1048576))" /dev/urandom >"$file"

port=$(free_port 15100)
start tracker "$binary" tracker --no-web --port "$port" --data "$folder/tracker"
wait_for "the tracker listens" listens "$port"
url=http://127.0.0.1:$port/announce
port=$(free_port 16981)
start seeder "$binary" seed "$file" --tracker "$url" --port "$port" --out "$meta"
wait_for "the seeder wrote its metainfo" test -s "$meta"
wait_for "the seeder listens" listens "$port"

for _ in $(seq "$runs"); do
    measure sha1 openssl sha1 "$file"
    measure cp cp "$file" "$folder/copy"
    measure fetch "$binary" fetch "$meta" --out "$folder/out" --port "$(free_port 17000)" --seed-for 0
    cmp "$file" "$folder/out/file.bin"
    rm -r "$folder/out" "$folder/copy"
done

echo "$mebibytes MiB over loopback, medians of $runs, $(nproc) cores"
awk -v sha1="$(median sha1)" -v cp="$(median cp)" -v fetch="$(median fetch)" -v mebibytes="$mebibytes" 'BEGIN {
    printf "openssl sha1  %6.2f s\n", sha1
    printf "cp            %6.2f s\n", cp
    printf "fetch         %6.2f s  %.0f MB/s  %.2f x (sha1 + cp)\n", fetch, mebibytes * 1.048576 / fetch, fetch / (sha1 + cp)
}'
