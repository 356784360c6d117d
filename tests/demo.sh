#!/usr/bin/env bash
# One file from a seeder to two fetchers through the tracker, each a process with a port and a folder of its own.
#
# usage: tests/demo.sh MINITORRENT [MEGABYTES]
set -euo pipefail
binary=$(realpath "$1")
megabytes=${2:-100}
source "$(dirname "$0")/processes.sh"

mkdir "$folder"/{tracker,seeder,first,second}
file=$folder/seeder/planet.bin
meta=$folder/planet.json
echo "file:     $megabytes MB of random bytes"
head -c "$((megabytes * 1000000))" /dev/urandom >"$file"

port=$(free_port 15000)
start tracker "$binary" tracker --port "$port" --data "$folder/tracker"
wait_for "the tracker listens" listens "$port"
echo "tracker:  listens on port $port"
url=http://127.0.0.1:$port/announce

port=$(free_port 16881)
start seeder "$binary" seed "$file" --tracker "$url" --port "$port" --out "$meta"
wait_for "the seeder wrote its metainfo" test -s "$meta"
wait_for "the seeder listens" listens "$port"
echo "seeder:   listens on port $port, has written $(basename "$meta")"

begin=$(date +%s.%N)
declare -A names
for name in first second; do
    port=$(free_port $((port + 1)))
    start "$name" "$binary" fetch "$meta" --out "$folder/$name" --port "$port" --seed-for 0
    names[$!]=$name
    echo "fetcher:  the $name uses port $port"
done
while [ ${#names[@]} -gt 0 ]; do
    wait -n -p pid "${!names[@]}" || fail "the ${names[$pid]} fetcher ended with code $?"
    name=${names[$pid]} seconds=$(since "$begin")
    unset "names[$pid]"
    cmp "$file" "$folder/$name/planet.bin" || fail "the $name fetcher has another file"
    echo "fetcher:  the $name has the same $megabytes MB, byte for byte, after $seconds s"
done
echo "done:     $megabytes MB moved to two fetchers through the tracker, in $(since "$begin") s"
