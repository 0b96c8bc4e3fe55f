# shellcheck shell=bash
# Shared by the scripts beside it: where the checkout is, how to speak, how to fail.
# Sourced, never run. Sets ROOT and moves there, so that every path below is relative to the checkout.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# `sudo` drops these from PATH; what was found first stays first.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# Progress goes to stderr: stdout is for what a script is asked for.
say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# say_on: from now on, what is said is passed on to whoever reads it, and neither ends nor delays the script where nobody
# does: a reader who has gone, a terminal that hung up, a pipe that is full.
say_on() {
    trap '' PIPE HUP
    exec 3>&2 2> >(pass_on)
    speaker=$!
}

# said: waits until the last words are passed on, so that no prompt comes before them, but not for long.
said() {
    exec 2>&-
    timeout 3 tail --pid="$speaker" -f /dev/null || true
}

pass_on() {
    local line
    # Ctrl-C reaches this process too.
    trap '' INT TERM
    while IFS= read -r line; do
        timeout 1 printf '%s\n' "$line" >&3 2>/dev/null || true
    done
}

have() { command -v "$1" >/dev/null 2>&1; }

# quietly LOG COMMAND…: output goes to target/log/LOG; on failure its end is shown.
quietly() {
    local log=target/log/$1
    shift
    mkdir -p target/log
    # 9 is the lock that `alone` takes: a daemon that a package starts must not inherit it.
    "$@" >"$log" 2>&1 </dev/null 9>&- && return
    tail -n 40 "$log" >&2
    die "failed: $* (all of it: $ROOT/$log)"
}

# fetching LOG COMMAND…: the same for what comes over a network. A first try that fails or lasts ten minutes is followed by a
# second one, since a mirror that stalls may do so once.
fetching() {
    mkdir -p target/log
    timeout --kill-after=10 600 "${@:2}" >"target/log/$1" 2>&1 </dev/null 9>&- && return
    say "once more: ${*:2}"
    quietly "$1" timeout --kill-after=10 600 "${@:2}"
}

# alone NAME: waits until no other run of the same step is under way in this checkout, and keeps others waiting.
alone() {
    mkdir -p target/lock
    exec 9>"target/lock/$1"
    flock 9
}

# The first place that has a toolchain as new as Cargo.toml's `rust-version`; an older one may come before it in PATH.
use_toolchain() {
    local wanted found place
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    for place in $(type -ap cargo); do
        place=${place%/cargo}
        found=$("$place/rustc" --version 2>/dev/null | cut -d' ' -f2) || continue
        if printf '%s\n%s\n' "$wanted" "$found" | sort --check=quiet --version-sort; then
            PATH=$place:$PATH
            return
        fi
    done
    return 1
}
