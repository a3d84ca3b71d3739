"""Processes that are started, waited for and ended, whatever happens in between."""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# Nothing takes longer to start or to end, a first start of RabbitMQ included.
PATIENCE_SECONDS = 90


class Missing(Exception):
    """A program that is not on this machine: its row is not measured."""


class Failed(Exception):
    """A program that did not do what it was started for."""


def find(name, *folders):
    """The path of a program, also of one that is on nobody's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    """Whether somebody accepts connections on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def get_status(port, path):
    """The status of a GET on this machine; None while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@contextlib.contextmanager
def folder():
    """An empty folder, which other users may enter but not list."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="orderwire-bench-"))
    try:
        path.chmod(0o711)
        yield path
    finally:
        shutil.rmtree(path)


def run(command, **how):
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)
    if done.returncode != 0:
        raise Failed(f"{show(command)} failed ({done.returncode}): {tail(done.stderr or done.stdout)}")
    return done.stdout


def succeeds(command):
    quiet = subprocess.DEVNULL
    return subprocess.run([str(word) for word in command], stdin=quiet, stdout=quiet, stderr=quiet).returncode == 0


class Server:
    """A server in a process group of its own, with its output in a file."""

    def __init__(self, command, log, look_every_seconds=0.02, **how):
        self.look_every_seconds = look_every_seconds
        self.command = [str(word) for word in command]
        self.log = pathlib.Path(log)
        # Ctrl-C is for run.py alone, which then ends everything in order.
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **how
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until(self, ready):
        """Waits until `ready()` is true; what it returns."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = ready()
            if found:
                return found
            code = self.process.poll()
            if code is not None:
                raise Failed(f"{show(self.command)} ended ({code}): {self.said()}")
            if time.monotonic() > end:
                raise Failed(f"{show(self.command)} is not ready after {PATIENCE_SECONDS} s: {self.said()}")
            time.sleep(self.look_every_seconds)

    def said(self):
        return tail(self.log.read_text(errors="replace"))

    def stop(self):
        """Ends it, by force where it does not go; its whole group is gone then."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def tail(text, lines=5):
    return " / ".join(text.strip().splitlines()[-lines:]) or "it said nothing"


def show(command):
    return " ".join(str(word) for word in command)
