"""The peers: each is started on an empty folder for every run, and stopped after it,
so that it takes no processor from what is measured next.

A peer that Debian packages is taken from there, with the settings of its package
unless the comment at its start says otherwise. `durable` says what its answer
promises, because a rate without that means nothing.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil

from . import machine, ours, process
from .figure import Figure

CLIENT = ours.ROOT / "bench/peer"


class Client:
    """The plain clients of the brokers, see bench/peer."""

    def __init__(self, seconds):
        self.seconds, self.path = seconds, None

    def build(self):
        command = ["cargo", "build", "--release", "--target-dir", CLIENT / "target"]
        command += ["--message-format=json-render-diagnostics"]
        self.path = ours.built(process.run(command, cwd=CLIENT), "orderwire-bench-peer")

    def run(self, broker, url, in_flight):
        """Publishes as fast as the broker confirms."""
        words = [broker, url, self.seconds, in_flight]
        figures = json.loads(process.run([self.path, *words]))
        return Figure(figures["rate"], figures, without_password(f"orderwire-bench-peer {process.show(words)}"))


class Broker:
    """A peer that is measured by a plain client of its own."""

    def __init__(self, client, in_flight):
        self.client, self.in_flight = client, in_flight


class RabbitMq(Broker):
    name = "RabbitMQ"
    package = "rabbitmq-server"
    durable = "quorum queue of one node, persistent, confirmed: after the write-ahead log was synchronised"

    @staticmethod
    def script(name):
        """One of RabbitMQ's own: those on the PATH change user and folder."""
        path = pathlib.Path("/usr/lib/rabbitmq/bin") / name
        if not path.exists():
            raise process.Missing(f"{path} is not there; the package is {RabbitMq.package}")
        return path

    def version(self):
        # Its tools would have to join a node to say it.
        folders = self.script("rabbitmq-server").parents[1].glob("lib/rabbitmq_server-*")
        return max(folder.name.partition("-")[2] for folder in folders)

    def measure(self):
        given = os.environ.get("AMQP_URL")
        if given:
            return self.client.run("rabbitmq", given, self.in_flight)
        with self.node() as url:
            return self.client.run("rabbitmq", url, self.in_flight)

    @contextlib.contextmanager
    def node(self):
        """A node with ports, data, cookie and name service of its own."""
        script, epmd = self.script("rabbitmq-server"), process.find("epmd")
        with process.folder() as folder:
            port, names = process.free_port(), process.free_port()
            (folder / "plugins").write_text("[].", encoding="ascii")
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "ERL_EPMD_PORT": str(names),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODENAME": "orderwire-bench@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(port),
                "RABBITMQ_DIST_PORT": str(process.free_port()),
                "RABBITMQ_MNESIA_BASE": str(folder / "data"),
                "RABBITMQ_LOG_BASE": str(folder / "log"),
                "RABBITMQ_PID_FILE": str(folder / "pid"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
                "RABBITMQ_CONFIG_FILE": str(folder / "none"),
                "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            }
            with process.Server([epmd, "-port", names, "-address", "127.0.0.1"], folder / "epmd.log", env=environment):
                with process.Server([script], folder / "out.log", env=environment) as server:
                    server.wait_until(lambda: process.answers(port))
                    yield f"amqp://guest:guest@127.0.0.1:{port}/%2f"


class Nats(Broker):
    name = "NATS JetStream"
    package = "nats-server"

    def version(self):
        return machine.version(process.find("nats-server"), "--version")

    @property
    def durable(self):
        if self.synchronises():
            return "file storage, acknowledged after a synchronisation (sync_interval: always)"
        return "file storage, acknowledged after the write; synchronised every two minutes, so power loss loses events"

    def synchronises(self):
        """Whether this version can synchronise before it acknowledges: since 2.10."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version())[:2]) >= (2, 10)

    def measure(self):
        with self.node() as url:
            return self.client.run("nats", url, self.in_flight)

    @contextlib.contextmanager
    def node(self):
        """A server with a port and a folder of its own."""
        with process.folder() as folder:
            port = process.free_port()
            always = "sync_interval: always" if self.synchronises() else ""
            settings = f'listen: "127.0.0.1:{port}"\njetstream {{\n store_dir: "{folder}/data"\n {always}\n}}\n'
            (folder / "nats.conf").write_text(settings, encoding="utf-8")
            command = [process.find("nats-server"), "-c", folder / "nats.conf"]
            with process.Server(command, folder / "log") as server:
                server.wait_until(lambda: process.answers(port))
                yield f"nats://127.0.0.1:{port}"


class Redis(Broker):
    name = "Redis streams"
    package = "redis-server"
    durable = "append-only file, synchronised before each round of answers (appendfsync always)"

    def version(self):
        return machine.version(process.find("redis-server"), "--version", pattern=r"v=(\S+)")

    def measure(self):
        with process.folder() as folder:
            port = process.free_port()
            command = [process.find("redis-server"), "--bind", "127.0.0.1", "--port", port, "--dir", folder]
            command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
            with process.Server(command, folder / "log") as server:
                server.wait_until(lambda: process.answers(port))
                return self.client.run("redis", f"redis://127.0.0.1:{port}/", self.in_flight)


class Nginx:
    name = "nginx, static file"
    package = "nginx"
    durable = None

    def __init__(self, orderwire):
        self.orderwire = orderwire

    def version(self):
        return machine.version(process.find("nginx"), "-v", pattern=r"nginx/(\S+)")

    def measure(self):
        """The bytes of our own view as a file, read by our own generator."""
        nginx = process.find("nginx")
        with process.folder() as folder:
            www = folder / "www"
            www.mkdir()
            www.chmod(0o755)
            with self.orderwire.up("--config", ours.EXAMPLE) as server:
                server.import_air(hours=221)
                server.call("GET", ours.VIEW)
                (www / "air.json").write_bytes(server.call("GET", ours.VIEW))
            port = process.free_port()
            (folder / "nginx.conf").write_text(self.settings(folder, port), encoding="utf-8")
            with process.Server([nginx, "-c", folder / "nginx.conf", "-e", folder / "error.log"], folder / "log") as server:
                server.wait_until(lambda: process.answers(port))
                url = f"http://127.0.0.1:{port}"
                figures, words = self.orderwire.load([*ours.READ, "/air.json", *ours.WITHOUT_KEY], url)
                return Figure(figures["units_per_second"], figures, words)

    @staticmethod
    def settings(folder, port):
        temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""daemon off; pid {folder}/pid; worker_processes auto; error_log {folder}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
                default_type application/json; {temporary}
                server {{ listen 127.0.0.1:{port}; root {folder}/www; }} }}"""


class PostgreSql:
    name = "PostgreSQL, pgbench"
    package = "postgresql"
    durable = None

    # What our own read of ours.REST asks the store for.
    SQL = """\\set n -1 * random(1, 1000000000)
        SELECT "TimeInstant", id_entity, so2, no2, co, o3, pm10, pm2_5 FROM air
        WHERE id_entity = 'air-station-03' AND no2 > :n ORDER BY "TimeInstant" DESC LIMIT 100;"""
    TABLE = """CREATE TABLE air ("TimeInstant" timestamptz NOT NULL, id_entity text NOT NULL,
        so2 float8, no2 float8, co float8, o3 float8, pm10 float8, pm2_5 float8, PRIMARY KEY (id_entity, "TimeInstant"));"""

    def __init__(self, seconds, hours):
        self.seconds, self.hours = seconds, hours

    @staticmethod
    def program(name):
        return process.find(name, *sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))

    def version(self):
        return machine.version(self.program("postgres"), "--version")

    def measure(self):
        with self.node() as (folder, address):
            return self.pgbench(folder, address)

    @contextlib.contextmanager
    def node(self, kept=None):
        """A server with a database `postgres`, empty or as it is in the folder that keeps it: a folder, and
        the words that say where it is."""
        # A server refuses to run as root; the package makes a user for it.
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        with contextlib.nullcontext(kept) if kept else process.folder() as folder:
            data, port = folder / "data", process.free_port()
            if not (data / "PG_VERSION").exists():
                data.mkdir()
                if user:
                    shutil.chown(data, "postgres", "postgres")
                initdb = [self.program("initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"]
                process.run(initdb, cwd="/", **user)
            command = [self.program("postgres"), "-D", data, "-p", port, "-k", data]
            command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
            with process.Server(command, folder / "log", cwd="/", **user) as server:
                address = ["-h", "127.0.0.1", "-p", port, "-U", "bench"]
                server.wait_until(lambda: process.succeeds([self.program("pg_isready"), "-q", *address]))
                yield folder, address

    def pgbench(self, folder, address):
        (folder / "air.csv").write_text(ours.air_csv(self.hours), encoding="ascii")
        (folder / "read.sql").write_text(self.SQL, encoding="ascii")
        psql = [process.find("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *address, "-d", "postgres"]
        process.run([*psql, "-c", self.TABLE, "-c", f"\\copy air FROM '{folder}/air.csv' CSV HEADER", "-c", "VACUUM ANALYZE air"])
        words = ["-n", "-M", "prepared", "-c", 64, "-j", len(os.sched_getaffinity(0)), "-T", self.seconds]
        text = process.run([self.program("pgbench"), *words, "-f", folder / "read.sql", *address, "postgres"])
        rate = float(re.search(r"tps = ([\d.]+)", text).group(1))
        latency = float(re.search(r"latency average = ([\d.]+) ms", text).group(1))
        return Figure(rate, {"tps": rate, "latency_ms": {"mean": latency}}, f"pgbench {process.show(words)} -f read.sql")


PACKAGES = [peer.package for peer in (RabbitMq, Nats, Redis, Nginx, PostgreSql)]


def without_password(words):
    """Words of a command as they may be shown."""
    return re.sub(r"(\w+://)[^@/\s]+@", lambda found: found.group(1) + "…@", words)
