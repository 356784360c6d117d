# For the scripts of this folder: a temporary folder and background processes, both gone at the end, whatever the end is.

folder=$(mktemp -d "${TMPDIR:-/tmp}/minitorrent.XXXXXX")
started=()

finish() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND…: in the background, its words in NAME.log.
start() {
    "${@:2}" >"$folder/$1.log" 2>&1 </dev/null &
    started+=($!)
}

fail() {
    echo "failed: $*" >&2
    tail -n 5 "$folder"/*.log >&2
    exit 1
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port FROM: the first port from there on that nobody listens on.
free_port() {
    local port=$1
    while listens "$port"; do port=$((port + 1)); done
    echo "$port"
}

# wait_for SENTENCE COMMAND…: until the command holds; the process started last must live so long.
wait_for() {
    local deadline=$((SECONDS + 60))
    until "${@:2}"; do
        kill -0 "${started[-1]}" 2>/dev/null || fail "it ended before $1"
        [ "$SECONDS" -lt "$deadline" ] || fail "a minute has passed and not yet $1"
        sleep 0.05
    done
}

# since MOMENT: the seconds from a moment, as `date +%s.%N` tells it, until now.
since() { awk -v from="$1" -v to="$(date +%s.%N)" 'BEGIN { printf "%.2f", to - from }'; }
