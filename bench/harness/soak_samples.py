"""What the server takes of its machine, from moment to moment."""

import http.client
import os
import pathlib
import re
import time

from . import process, soak_mix

STATUS = {"rss_kib": "VmRSS", "anon_kib": "RssAnon", "threads": "Threads"}


def take(server, begun, slice_number):
    """One sample; None while there is no server."""
    proc = pathlib.Path(f"/proc/{server.pid}")
    try:
        status = (proc / "status").read_text(encoding="ascii")
        found = {key: int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE).group(1)) for key, name in STATUS.items()}
        # What follows the name, which may hold blanks: the 14th and 15th field.
        ticks = (proc / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        found["cpu_seconds"] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        found["descriptors"] = len(os.listdir(proc / "fd"))
        found["waiting"] = soak_mix.waiting(server)
        found["recording"] = soak_mix.waiting(server, "data")
    except (OSError, http.client.HTTPException, AttributeError, process.Failed):
        return None
    # Whatever is there: -wal and -shm come and go, and a file that nobody expects shows.
    found["files"] = {file.name: _size(file) for file in sorted((server.folder / "data").rglob("*")) if file.is_file()}
    return {"at": round(time.monotonic() - begun, 2), "slice": slice_number, "pid": server.pid, **found}


def _size(file):
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
