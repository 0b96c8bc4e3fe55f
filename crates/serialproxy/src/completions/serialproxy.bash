# Completion of serialproxy for bash 4 and later. The program says what fits, quoted as the line needs it, or fails where a file is
# wanted, which bash completes itself.

_serialproxy() {
    local candidates
    if candidates=$(command serialproxy complete bash -- "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null); then
        COMPREPLY=()
        [[ -z $candidates ]] || mapfile -t COMPREPLY <<<"$candidates"
    else
        compopt -o default
    fi
}

complete -F _serialproxy serialproxy
