"""The machine and the versions that belong to a figure."""

import os
import pathlib
import platform
import re

from . import process


def describe(folder):
    """The machine, with the disk that `folder` is on."""
    return {
        "processor": _first(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo")) or platform.processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": _first(r'PRETTY_NAME="(.*)"', _read("/etc/os-release")) or platform.system(),
        "kernel": platform.release(),
        "disk": _disk(folder),
        "load_before": round(os.getloadavg()[0], 2),
    }


def version(*command, pattern=r"(\d+(?:\.\d+)+\S*)"):
    """The version that a program says of itself, on either output."""
    text = process.run(["sh", "-c", '"$@" 2>&1', "-", *command])
    return _first(pattern, text) or text.strip().splitlines()[0]


def commit(root):
    """The commit that is measured, and whether the checkout has changes beside it."""
    git = ["git", "-c", f"safe.directory={root}", "-C", root]
    head = process.run([*git, "rev-parse", "--short=12", "HEAD"]).strip()
    changed = process.run([*git, "status", "--porcelain", "--untracked-files=no"]).strip()
    return head + (" with changes" if changed else "")


def _disk(folder):
    """File system and device of a folder: where the durable figures come from."""
    where, best = os.path.realpath(folder), ("", "", "")
    for line in _read("/proc/mounts").splitlines():
        device, mount, kind, *_ = line.split(" ")
        inside = where == mount or where.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[1]):
            best = (device, mount, kind)
    device, mount, kind = best
    rotates = _read(f"/sys/block/{re.sub(r'[0-9]+$', '', os.path.basename(device))}/queue/rotational").strip()
    spins = {"0": ", does not rotate", "1": ", rotates or is virtual"}.get(rotates, "")
    return f"{kind} on {device}{spins}"


def _read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _first(pattern, text):
    found = re.search(pattern, text)
    return found.group(1).strip() if found else None
