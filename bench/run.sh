#!/bin/sh
# Measures Orderwire against RabbitMQ and nginx on this machine, side by side: ours and
# theirs in turn, so that both see the same noise.
#
#   bench/run.sh                 needs AMQP_URL, for example
#                                AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f
#   RUNS=3 SECONDS_EACH=10       how often, how long
#   OUT=bench/results            where the raw figures go
#
# Without AMQP_URL only ours are measured, and it says so.
set -eu
cd "$(dirname "$0")/.."

RUNS=${RUNS:-3}
SECONDS_EACH=${SECONDS_EACH:-10}
OUT=${OUT:-bench/results}
AMQP_URL=${AMQP_URL:-}

cargo build --release --bin orderwire
BIN=$PWD/${CARGO_TARGET_DIR:-target}/release/orderwire
case ${CARGO_TARGET_DIR:-} in /*) BIN=$CARGO_TARGET_DIR/release/orderwire ;; esac
if [ -n "$AMQP_URL" ]; then
    CARGO_TARGET_DIR=$PWD/bench/peer/target cargo build --release --manifest-path bench/peer/Cargo.toml
    PEER=$PWD/bench/peer/target/release/orderwire-bench-peer
else
    echo "AMQP_URL is not set: measuring Orderwire alone, without a ratio" >&2
fi

mkdir -p "$OUT"
: >"$OUT/ours.ndjson"
: >"$OUT/peer.ndjson"
WORK=$(mktemp -d)
SERVER=
stop() {
    [ -z "$SERVER" ] || { kill "$SERVER" 2>/dev/null || :; wait "$SERVER" 2>/dev/null || :; }
    SERVER=
}
trap 'stop; rm -rf "$WORK"' EXIT
trap 'exit 1' INT TERM

# Starts a server on an empty folder and a free port, with these flags; sets URL.
start() {
    rm -rf "$WORK/data"
    : >"$WORK/ready"
    "$BIN" up "$@" --data "$WORK/data" --listen 127.0.0.1:0 >"$WORK/ready" 2>"$WORK/log" &
    SERVER=$!
    tries=0
    until grep -q '"msg":"ready"' "$WORK/ready"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$SERVER" 2>/dev/null; then
            cat "$WORK/log" >&2
            exit 1
        fi
        sleep 0.1
    done
    URL=http://$(sed -n 's/.*"listen":"\([^"]*\)".*/\1/p' "$WORK/ready")
}

# One run of ours: a row's name, a scenario and flags of `load`.
ours() {
    name=$1
    shift
    start
    "$BIN" --server "$URL" --data "$WORK/data" --output json load "$@" --duration "$SECONDS_EACH" >"$WORK/figures"
    stop
    printf '{"row":"%s","figures":%s}\n' "$name" "$(cat "$WORK/figures")" | tee -a "$OUT/ours.ndjson"
}

# One run of theirs: a row's name and the messages in flight.
peer() {
    [ -n "$AMQP_URL" ] || return 0
    "$PEER" "$AMQP_URL" "$SECONDS_EACH" "$2" >"$WORK/figures"
    printf '{"row":"%s","figures":%s}\n' "$1" "$(cat "$WORK/figures")" | tee -a "$OUT/peer.ndjson"
}

# About 300 kB of the view: ten stations, 221 hours.
sample() {
    python3 -c '
import datetime
print("TimeInstant,id_entity,so2,no2,co,o3,pm10,pm2_5")
begin = datetime.datetime(2026, 11, 1)
for hour in range(221):
    at = (begin + datetime.timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for station in range(10):
        v = [round(5 + (hour * 7 + station * 13 + k * 31) % 90 * 0.7, 1) for k in range(6)]
        print(at, "air-station-%02d" % station, *v, sep=",")'
}

# One run of ours and one of nginx, which serves the same bytes from a file.
view() {
    start --config examples/air-quality/orderwire.yaml
    sample >"$WORK/air.csv"
    "$BIN" --server "$URL" --data "$WORK/data" dataset import air "$WORK/air.csv" --yes >/dev/null
    mkdir -p "$WORK/www"
    for _ in miss hit; do curl -sf "$URL/api/v1/measures/air" -o "$WORK/www/air.json"; done
    "$BIN" --server "$URL" --data "$WORK/data" --output json load read --path /api/v1/measures/air \
        --connections 64 --duration "$SECONDS_EACH" >"$WORK/figures"
    stop
    printf '{"row":"view","figures":%s}\n' "$(cat "$WORK/figures")" | tee -a "$OUT/ours.ndjson"
    command -v nginx >/dev/null || { echo "nginx is not installed: no ratio for the view" >&2; return 0; }
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$WORK/nginx.conf" <<CONF
daemon off; pid $WORK/nginx.pid; worker_processes auto; error_log $WORK/nginx.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/json;
       client_body_temp_path $WORK/nginx-body; proxy_temp_path $WORK/nginx-proxy; fastcgi_temp_path $WORK/nginx-fcgi;
       uwsgi_temp_path $WORK/nginx-uwsgi; scgi_temp_path $WORK/nginx-scgi;
       server { listen 127.0.0.1:$port; root $WORK/www; } }
CONF
    chmod 755 "$WORK"
    nginx -c "$WORK/nginx.conf" 2>/dev/null &
    SERVER=$!
    until curl -sf "http://127.0.0.1:$port/air.json" -o /dev/null; do
        kill -0 "$SERVER" || { cat "$WORK/nginx.log" >&2; exit 1; }
        sleep 0.1
    done
    "$BIN" --server "http://127.0.0.1:$port" --output json load read --path /air.json --no-key \
        --connections 64 --duration "$SECONDS_EACH" >"$WORK/figures"
    stop
    printf '{"row":"view","figures":%s}\n' "$(cat "$WORK/figures")" | tee -a "$OUT/peer.ndjson"
}

run=0
while [ "$run" -lt "$RUNS" ]; do
    run=$((run + 1))
    echo "run $run of $RUNS" >&2
    ours event single --connections 64 --payload 512
    peer event 64
    ours rows rows --connections 8 --batch 500
    peer rows 512
    view
done

python3 bench/ratio.py "$OUT/ours.ndjson" "$OUT/peer.ndjson"
