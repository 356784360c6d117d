#!/bin/sh
# Gets minitorrent from the tracker that this script came from, and puts it into ~/.local/bin.
# Nothing is done before the last line is here: it calls the one function.
get_minitorrent() (
    set -eu
    stop() {
        echo "get: $*" >&2
        exit 1
    }
    address=@ADDRESS@
    machine="$(uname -s) $(uname -m)"
    case "$machine" in
@PROGRAMS@
    *) stop "this tracker has no program for $machine" ;;
    esac
    [ -n "${HOME:-}" ] || stop "HOME says nothing; say where your home is: HOME=FOLDER sh get.sh"
    folder=$HOME/.local/bin
    echo "This fetches $address/dist/$name"
    echo "into $folder, compares its SHA-256 with"
    echo "$sum, and calls it $folder/minitorrent."
    mkdir -p "$folder"
    new=$(mktemp "$folder/.minitorrent.XXXXXX")
    trap 'rm -f "$new"' EXIT
    trap 'exit 130' INT TERM
    if command -v curl >/dev/null 2>&1; then
        curl -fsS -o "$new" "$address/dist/$name" || stop "the transfer failed"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$new" "$address/dist/$name" || stop "the transfer failed"
    else
        stop "neither curl nor wget is here"
    fi
    if command -v sha256sum >/dev/null 2>&1; then
        found=$(sha256sum "$new")
    elif command -v openssl >/dev/null 2>&1; then
        found=$(openssl dgst -sha256 -r "$new")
    else
        stop "neither sha256sum nor openssl is here"
    fi
    found=${found#"\\"}
    found=${found%% *}
    [ "$found" = "$sum" ] || stop "the transfer broke: the SHA-256 is $found; try again"
    chmod 755 "$new"
    mv -f "$new" "$folder/minitorrent"
    echo "Done: $("$folder/minitorrent" --version)"
    case ":$PATH:" in
    *":$folder:"*) ;;
    *) echo "To type minitorrent alone: PATH=\$HOME/.local/bin:\$PATH" ;;
    esac
)
get_minitorrent
