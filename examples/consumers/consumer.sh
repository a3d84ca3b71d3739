#!/bin/sh
# Consumes a queue of Orderwire with curl and jq: lease, work, ack.
#
# A delivery comes again unless it was acked, so that a crash loses nothing, and what
# `handle` does may happen twice: use the event's id where that matters.
set -eu

server=${ORDERWIRE_SERVER:-http://127.0.0.1:8080}
queue=${QUEUE:-orders}
# The work has to be done within this time; what takes longer is extended.
lease_ms=${LEASE_MS:-30000}
: "${ORDERWIRE_API_KEY:?is not set}"

stopping=
trap 'stopping=1' TERM INT

# The work: the event on stdin. A failure means: try again later.
handle() {
  jq --raw-output --compact-output --arg attempt "$1" '"\(.type) \(.data) attempt \($attempt)"'
}

# One call: call ACTION BODY; its answer is in $answer. curl itself waits and asks again when
# the server is away or busy (429 and 503, with Retry-After); when that takes long, this
# goes on with it. The key goes by stdin, so that no list of processes shows it.
call() {
  while :; do
    answer=$(curl --no-progress-meter --fail-with-body --max-time 60 \
      --retry 3 --retry-connrefused --retry-max-time 10 \
      --header 'Content-Type: application/json' --data "$2" --config - \
      "$server/v1/queues/$queue/$1" <<KEY
header = "Authorization: Bearer $ORDERWIRE_API_KEY"
KEY
    ) && failed='' || failed=1
    # What the server answered before curl asked again comes first.
    answer=$(printf '%s' "$answer" | jq --compact-output --slurp 'last // {}' 2>/dev/null) || answer='{}'
    [ -n "$failed" ] || return 0
    case $(printf '%s' "$answer" | jq '.status // 0') in
      # A lease ran out: the delivery comes again, or is with somebody else.
      409) printf '%s: %s\n' "$1" "$answer" >&2 && return 0 ;;
      0 | 429 | 503) [ -z "$stopping" ] || return 1; sleep 1 ;;
      *) printf '%s: %s\n' "$1" "$answer" >&2 && exit 1 ;;
    esac
  done
}

while [ -z "$stopping" ]; do
  # Waits up to 5 seconds for something to do, which is also how long a stop takes at most.
  call lease "{\"max\":1,\"wait_ms\":5000,\"lease_ms\":$lease_ms}" || break
  delivery=$(printf '%s' "$answer" | jq --compact-output '.deliveries[0] // empty')
  [ -n "$delivery" ] || continue
  ids=$(printf '%s' "$delivery" | jq --compact-output '{delivery_ids: [.delivery_id]}')
  attempt=$(printf '%s' "$delivery" | jq .attempt)
  if printf '%s' "$delivery" | jq .event | handle "$attempt"; then
    call ack "$ids"
  else
    call nack "$ids"
  fi
done
