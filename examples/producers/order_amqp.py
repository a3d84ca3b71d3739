#!/usr/bin/env python3
"""Orders a product through RabbitMQ, as a producer does that knows nothing of Orderwire.

    order_amqp.py --product sensor --client acme

Puts one message on the durable queue `infra` and prints its trace id. Needs pika
(`pip install pika`); AMQP_URL says where RabbitMQ is.
"""

import argparse
import json
import os
import time
import uuid

import pika


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--product", required=True)
    parser.add_argument("--client", required=True)
    parser.add_argument("--queue", default="infra")
    args = parser.parse_args()
    trace = str(uuid.uuid4())
    now = time.time_ns()
    published = time.strftime("%Y.%m.%d.%H.%M", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}"
    order = {
        "client": args.client,
        "product": args.product,
        "environment": "dev",
        "MessageAttributes": {
            "event_type": {"Type": "String", "Value": "mycompany.producer.event.client.published"},
            "published_on": published,
            "trace_id": trace,
            "retrace_intent": "0",
        },
        "Metadata": {"host": "laptop", "origing": "Cloud", "publisher": "order_amqp.py"},
    }
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost/%2f")))
    channel = connection.channel()
    channel.queue_declare(args.queue, durable=True)
    # Without this, an order that RabbitMQ loses is an order that nobody misses.
    channel.confirm_delivery()
    channel.basic_publish("", args.queue, json.dumps(order), pika.BasicProperties(delivery_mode=2))
    connection.close()
    print(trace)


if __name__ == "__main__":
    main()
