# shellcheck shell=bash
# Shared by the other scripts: finds the checkout, prints messages, reports failures.
# Sourced, never run. Sets ROOT and moves there, so that every path below is relative to the checkout.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# `sudo` drops these from PATH; what was found first stays first.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# Progress goes to stderr: stdout is for a script's result.
say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# say_on: from now on, another process prints the messages. So a reader that is gone, a terminal that hung up or a full pipe
# neither ends nor delays the script.
say_on() {
    trap '' PIPE HUP
    exec 3>&2 2> >(pass_on)
    speaker=$!
}

# said: waits at most 3 s until the last messages are printed, so that no prompt comes before them.
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

# quietly LOG COMMAND…: writes the output to target/log/LOG; on failure, prints its end and exits.
quietly() {
    local log=target/log/$1
    shift
    mkdir -p target/log
    # 9 is the lock that `alone` takes: a daemon that a package starts must not inherit it.
    "$@" >"$log" 2>&1 </dev/null 9>&- && return
    tail -n 40 "$log" >&2
    die "failed: $* (full log: $ROOT/$log)"
}

# fetching LOG COMMAND…: the same for downloads. Retries once if the first attempt fails or takes ten minutes, because mirrors
# stall now and then.
fetching() {
    mkdir -p target/log
    timeout --kill-after=10 600 "${@:2}" >"target/log/$1" 2>&1 </dev/null 9>&- && return
    say "trying again: ${*:2}"
    quietly "$1" timeout --kill-after=10 600 "${@:2}"
}

# alone NAME: takes the lock of a step, so that only one run of it at a time is in progress in this checkout.
alone() {
    mkdir -p target/lock
    exec 9>"target/lock/$1"
    flock 9
}

# Puts the first toolchain that is as new as `rust-version` in Cargo.toml before older ones in PATH.
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

# Makes `cargo test` end a test program that hangs, so that the others run.
bound_tests() {
    local machine
    machine=$(rustc --version --verbose | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${machine}_RUNNER=$ROOT/scripts/bounded"
}
