"""What users do, all at once and at fixed rates, by `orderwire load`."""

import contextlib
import dataclasses
import json
import signal
import subprocess
import tempfile
import time

from . import process, soak_server

CONNECTIONS = "64"
ROWS_EACH = 20
LEASED = 100


@dataclasses.dataclass(frozen=True)
class Part:
    """A scenario of `orderwire load`, and its share of the rate."""

    name: str
    words: tuple
    # Requests for each event.
    share: float
    # Errors that are none: nothing was there to lease at that moment.
    fine: tuple = ()


# Keys that are always others, as of orders or sessions: 100 clients with 1,000 each.
EVENTS = Part(
    "events", ("single", "--connections", CONNECTIONS, "--clients", "100", "--keys", "1000", "--arrivals", "poisson"), 1
)
CONSUMER = Part("consumer", ("consume", "--connections", "8", "--prefill", "0", "--batch", str(LEASED)), 1 / 20, ("idle",))
ROWS = Part("rows", ("rows", "--connections", "16", "--batch", str(ROWS_EACH), "--clients", "100"), 1 / 20)
READS = Part("reads", ("read", "--connections", "16", "--path", soak_server.VIEW, "--arrivals", "poisson"), 1 / 4)
PARTS = (EVENTS, CONSUMER, ROWS, READS)


class Running:
    """A part that runs now."""

    def __init__(self, server, part, rate, seconds, warm_up):
        self.part, self.rate, self.end = part, rate, time.monotonic() + seconds + warm_up
        self.server = server
        self.found = []
        self._start(seconds, warm_up)

    def _start(self, seconds, warm_up):
        words = [*self.part.words, "--rate", f"{self.rate * self.part.share:.2f}", "--duration", f"{seconds:.2f}"]
        if self.part is not CONSUMER:
            words += ["--warm-up", str(warm_up)]
        flags = ["--server", self.server.url, "--data", self.server.folder / "data", "--output", "json"]
        self.command = f"orderwire load {process.show(words)}"
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        command = [str(word) for word in [self.server.orderwire.binary, *flags, "load", *words]]
        # Ctrl-C is for soak.py alone.
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err, start_new_session=True
        )

    def over(self):
        """Whether it has ended. A consumer that found nothing left goes on until its time is over."""
        if self.process.poll() is None:
            return False
        if self.out is not None:
            self._take()
            left = self.end - time.monotonic()
            if self.part is CONSUMER and left > 1:
                self._start(left, 0)
                return False
        return True

    def _take(self):
        self.out.seek(0)
        self.err.seek(0)
        text, said = self.out.read().decode(), self.err.read().decode(errors="replace")
        self.out.close()
        self.err.close()
        self.out = None
        # 1 with a report: nothing succeeded, which the figures say.
        if self.process.returncode in (0, 1) and text:
            self.found.append(json.loads(text))
        elif self.process.returncode != -signal.SIGKILL:
            self.found.append({"failed": f"{self.command} ended with {self.process.returncode}: {process.tail(said)}"})

    def interrupt(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def figures(self):
        """Of all its processes together; the latencies of the one that did most."""
        good = [one for one in self.found if "failed" not in one]
        most = max(good, key=lambda one: one["requests"], default={})
        errors = {}
        for one in good:
            for word, count in one["errors"].items():
                errors[word] = errors.get(word, 0) + count
        latency = most.get("latency_ms") or {}
        return {
            "requests": sum(one["requests"] for one in good),
            "units": sum(round(one["units_per_second"] * one["seconds"]) for one in good),
            "per_second": round(sum(one["units_per_second"] for one in good) / max(1, len(good)), 1),
            "p50_ms": latency.get("p50"),
            "p99_ms": latency.get("p99"),
            "max_ms": latency.get("max"),
            "errors": errors,
            "failed": sum(count for word, count in errors.items() if word not in self.part.fine),
            "not_sent": sum(one["not_sent"] for one in good),
            "late_ms_max": max((one["generator"]["late_ms_max"] for one in good), default=None),
            "problems": [one["failed"] for one in self.found if "failed" in one],
        }


def run(server, parts, rate, seconds, tick=lambda: None, warm_up=0):
    """Runs parts beside each other for so long and calls `tick` meanwhile; their figures by name.

    An interruption ends them early, and is raised again with the figures as its argument.
    """
    running = [Running(server, part, rate, seconds, warm_up) for part in parts]
    try:
        while not all([one.over() for one in running]):
            tick()
            time.sleep(0.05)
    except KeyboardInterrupt:
        for one in running:
            one.end = 0
            one.interrupt()
        patience = time.monotonic() + 10
        while not all([one.over() for one in running]) and time.monotonic() < patience:
            time.sleep(0.05)
        raise KeyboardInterrupt({one.part.name: one.figures() for one in running}) from None
    finally:
        for one in running:
            one.stop()
    return {one.part.name: one.figures() for one in running}


def waiting(server, queue="load"):
    """Events that wait in a queue, whatever for."""
    state = json.loads(server.call("GET", f"/v1/queues/{queue}"))
    return state["ready"] + state["in_flight"] + state["delayed"]


def drain(server, seconds):
    """Consumes what is left, as fast as it goes; the deliveries."""
    words = ["consume", "--connections", "8", "--prefill", "0", "--batch", "500", "--duration", str(seconds)]
    command = [server.orderwire.binary, "--server", server.url, "--data", server.folder / "data", "--output", "json"]
    done = subprocess.run([str(word) for word in [*command, "load", *words]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    figures = json.loads(done.stdout) if done.stdout else {}
    return round(figures.get("units_per_second", 0) * figures.get("seconds", 0))


class Knee:
    """Searches the highest rate of the mix that keeps the objective, by the rule of `load --ramp`."""

    FROM, FACTOR, REFINE, WARM_UP = 200, 1.5, 3, 2

    def __init__(self, server, p99_ms, seconds, say):
        self.server, self.p99_ms, self.seconds, self.say = server, p99_ms, seconds, say
        self.steps = []

    def find(self):
        good, rate, bad = None, self.FROM, None
        while bad is None:
            # A moment's noise ends nothing: a rate is broken when it broke twice.
            if self._keeps(rate) or self._keeps(rate):
                good, rate = rate, rate * self.FACTOR
            else:
                bad = rate
        if good is None:
            raise process.Failed(f"even {self.FROM} events/s break the objective: {self.steps[-1]['broke']}")
        for _ in range(self.REFINE):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if self._keeps(middle) else (good, middle)
        return round(good)

    def _keeps(self, rate):
        figures = run(self.server, PARTS, rate, self.seconds, warm_up=self.WARM_UP)
        left = waiting(self.server)
        broke = [why for part in PARTS for why in self._broke(part, figures[part.name], rate)]
        if left > rate:
            broke.append(f"{left:,} events wait at the end")
            drain(self.server, 60)
        self.steps.append({"rate": round(rate), "broke": broke, "waiting": left, "parts": figures})
        self.say(f"knee: {rate:,.0f} events/s {'break: ' + '; '.join(broke) if broke else 'are kept'}")
        return not broke

    def _broke(self, part, figures, rate):
        done, failed = figures["requests"], figures["failed"]
        if figures["p99_ms"] is None:
            yield f"{part.name}: nothing succeeded"
            return
        if figures["p99_ms"] > self.p99_ms:
            yield f"{part.name}: p99 {figures['p99_ms']:,.0f} ms"
        if failed > 0.001 * (done + failed):
            yield f"{part.name}: {failed:,} of {done + failed:,} failed"
        if figures["not_sent"] > 0.01 * rate * part.share * self.seconds:
            yield f"{part.name}: {figures['not_sent']:,} were not sent"
