# shellcheck shell=bash
# What the Debian packages are made of, for scripts/package and scripts/check-packaging.
# Sourced, never run.

# units PACKAGE: the files of its systemd units.
units() {
    case $1 in
        serialproxy) ls packaging/systemd/*.service packaging/systemd/*.socket ;;
        serialproxy-front) ls packaging/systemd/serialproxy-{api,proxy}*.{service,socket} ;;
    esac
}

# other PACKAGE: the package that has the same program, state and configuration.
other() {
    case $1 in
        serialproxy) echo serialproxy-front ;;
        serialproxy-front) echo serialproxy ;;
    esac
}

# maintainer_script PACKAGE SCRIPT: the script as the package has it.
maintainer_script() {
    local start="systemctl enable --now serialproxy-api.service (or -proxy)" names groups=
    [[ $1 != serialproxy ]] || { start="systemctl enable --now serialproxy.service" groups=libvirt; }
    names=$(units "$1" | sed 's|.*/||')
    sed -e "s|@OTHER@|$(other "$1")|; s|@START@|$start|; s|@GROUPS@|$groups|; s|@DOCS@|/usr/share/doc/$1/docs|" \
        -e "s|@SOCKETS@|$(echo $(grep '\.socket$' <<<"$names"))|" \
        -e "s|@SERVICES@|$(echo $(grep '\.service$' <<<"$names"))|" "packaging/debian/$2"
}
