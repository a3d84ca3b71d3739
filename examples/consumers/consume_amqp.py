#!/usr/bin/env python3
"""Consumes a native queue of Orderwire through RabbitMQ, as a consumer does that knows
nothing of Orderwire.

    consume_amqp.py --queue clients

Prints one line for each message: its trace id and its client. A message is acked after its
line is printed, so that none is lost when this ends. It may come again; then it has the
same message id. Needs pika (`pip install pika`); AMQP_URL says where RabbitMQ is.
"""

import argparse
import json
import os
import signal
import sys

import pika


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queue", default="clients")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost/%2f")))
    channel = connection.channel()
    channel.queue_declare(args.queue, durable=True)
    channel.basic_qos(prefetch_count=10)
    for method, _, body in channel.consume(args.queue):
        event = json.loads(body)
        print(event["trace_id"], event["client"], flush=True)
        channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    main()
