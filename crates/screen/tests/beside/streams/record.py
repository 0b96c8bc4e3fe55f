"""Records again what the tests compare: record.py [NAME…], beside the recordings.

Needs the programs themselves, and for `grub` and `boot` what those boot: GRUB, a kernel. The files of the programs come
from a directory that is made here.
"""

import fcntl
import os
import pathlib
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[4]
QEMU = "qemu-system-x86_64 -nodefaults -no-reboot -m 256 -display none -vga none -serial stdio -monitor none".split()
DOWN, RIGHT = "\x1b[B", "\x1b[C"

# Name: command, TERM, seconds between keys, keys.
SESSIONS = {
    "apt": ("apt-get -o Dpkg::Progress-Fancy=1 install -y --reinstall whiptail", "xterm", 1, [""] * 10),
    "bash": (
        "bash --norc -i",
        "linux",
        0.6,
        [
            "ls --color=always -la /etc | tail -30\r",
            'echo -e "\\e[44mblue\\e[0m 中文 😀 e\\u0301"\r',
            "a very long command line that goes on and on, far beyond the last column of this terminal, twice",
            "\x01",
            f"{RIGHT}{RIGHT}\x0b",
            "\x03",
            'printf "\\xe9\\xff latin\\n"\r',
            "history | head\r",
            "\x12his",
            "\x07",
        ],
    ),
    "boot": (
        [*QEMU, "-kernel", "target/guest-image/demo/kernel", "-initrd", "target/guest-image/demo/initrd"]
        + ["-append", "console=ttyS0"],
        "linux",
        1.5,
        [*[""] * 12, "\r", "ls /\r", "vi /init\r", "\x06", ":q\r", "top\r", "q", "dmesg | tail -5\r"],
    ),
    "dialog": (
        "dialog --title Partition --backtitle Installer --menu What? 15 60 6 1 Guided 2 Manual 3 Help",
        "linux",
        0.6,
        [DOWN, DOWN, "\t"],
    ),
    "dialog-vt100": (
        "dialog --title Name --form Who? 12 50 4 First: 1 1 Ada 1 10 20 0 Last: 2 1 - 2 10 20 0",
        "vt100",
        0.6,
        ["lovelace", DOWN, "x"],
    ),
    # `target/grub.lnx` is lnxboot.img and an image of grub-mkimage with a menu on the serial port.
    "grub": ([*QEMU, "-kernel", "target/grub.lnx"], "linux", 2, ["", "", "", DOWN, DOWN, "e", DOWN, "abc"]),
    "htop": ("htop -d 5", "xterm-256color", 0.6, ["t", DOWN, DOWN, "/ba\r"]),
    "less": ("less README.md", "xterm", 0.6, [" ", "/serial\r", "n", "b", "G", "\x1b[D"]),
    "mc": ("mc -x", "xterm", 0.9, [DOWN, DOWN, "\t", "\x1b[20~", RIGHT, "\x1b\x1b", "\x0f", "ls -l\r", "\x0f"]),
    "mc-linux": ("mc", "linux", 0.9, [DOWN, "\t", "\x1b[20~"]),
    "nano": ("nano README.md", "xterm-256color", 0.6, ["\x16", "hello", "\x0b", "\x15", DOWN]),
    "systemd": ("systemd-nspawn -q --volatile=yes -D / -b --register=no --keep-unit", "linux", 1, [""] * 16),
    "tmux": (
        "tmux -L record -f /dev/null new -s x bash\\ --norc",
        "xterm-256color",
        0.9,
        ["seq 30\r", '\x02"', "ls /usr\r", "\x02%", "echo hi\r", "\x02d"],
    ),
    "top": ("top -d 0.5", "vt220", 0.6, ["c", "1", "z", "x"]),
    "vim": (
        "vim -u NONE -N main.rs",
        "linux",
        0.6,
        [":syntax on\r", "/fn put\r", "\x06", "dd", "iinserted\x1b", ":set hlsearch nu\r", ":split\r", ":vsplit\r"],
    ),
    "vim-vt220": ("vim -u NONE -N README.md", "vt220", 0.6, ["\x06", "ihello\x1b", "G", "gg", ":q!\r"]),
    "whiptail": (
        "whiptail --title Locale --checklist Choose 16 60 8 de German ON en English OFF zh 中文 OFF",
        "xterm",
        0.6,
        [DOWN, " ", "\t"],
    ),
}


def main():
    with tempfile.TemporaryDirectory() as home:
        (pathlib.Path(home) / "README.md").write_text((ROOT / "README.md").read_text())
        (pathlib.Path(home) / "main.rs").write_text((ROOT / "crates/screen/src/terminal.rs").read_text())
        (pathlib.Path(home) / "target").symlink_to(ROOT / "target")
        for name in sys.argv[1:] or SESSIONS:
            (HERE / f"{name}.raw").write_bytes(record(home, *SESSIONS[name]))


def record(home, command, term, pause, keys):
    words = command.replace("\\ ", "\0").split() if isinstance(command, str) else command
    words = [word.replace("\0", " ") for word in words]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM=term, LC_ALL="C.UTF-8", PS1="demo:~# ", HOME=home)
        os.chdir(home)
        os.execvp(words[0], words)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    output = b""
    for key in ["", *keys]:
        try:
            os.write(terminal, key.encode())
            output += read(terminal, pause)
        except OSError:
            break
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return output


def read(terminal, seconds):
    output = b""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            output += os.read(terminal, 65536)
    return output


if __name__ == "__main__":
    main()
