<?php

// Consumes a queue of Orderwire with nothing but PHP: lease, work, ack.
//
// A delivery comes again unless it was acked, so that a crash loses nothing, and what
// handle() does may happen twice: use the event's id where that matters.

declare(strict_types=1);

$server = getenv('ORDERWIRE_SERVER') ?: 'http://127.0.0.1:8080';
$key = getenv('ORDERWIRE_API_KEY') ?: '';
$queue = getenv('QUEUE') ?: 'orders';
// The work has to be done within this time; what takes longer is extended.
$leaseMs = (int) (getenv('LEASE_MS') ?: 30000);

if ($key === '') {
    fwrite(STDERR, "ORDERWIRE_API_KEY is not set\n");
    exit(1);
}

$stopping = false;
pcntl_async_signals(true);
foreach ([SIGTERM, SIGINT] as $signal) {
    pcntl_signal($signal, function () use (&$stopping) {
        $stopping = true;
    });
}

/** The work. An exception means: try again later. */
function handle(object $event, int $attempt): void
{
    $data = json_encode($event->data ?? null, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR);
    echo "{$event->type} {$data} attempt {$attempt}\n";
}

/** One call. A server that is busy or away is asked again, later each time. */
function call(string $action, array $body): object
{
    global $server, $key, $queue, $stopping;
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ["Authorization: Bearer {$key}", 'Content-Type: application/json'],
        'content' => json_encode($body, JSON_THROW_ON_ERROR),
        // An answer is read whatever its status.
        'ignore_errors' => true,
        'timeout' => 30,
    ]]);
    for ($tried = 0; ; $tried++) {
        $http_response_header = [];
        $text = @file_get_contents("{$server}/v1/queues/{$queue}/{$action}", false, $context);
        $status = (int) (explode(' ', $http_response_header[0] ?? '')[1] ?? 0);
        $answer = is_string($text) ? json_decode($text) : null;
        if ($status === 200 && is_object($answer)) {
            return $answer;
        }
        if ($status === 409 && is_object($answer)) {
            // A lease ran out: the delivery comes again, or is with somebody else.
            fwrite(STDERR, "{$action}: {$answer->detail}\n");
            return $answer;
        }
        if (!in_array($status, [0, 200, 429, 503], true)) {
            fwrite(STDERR, "{$action}: {$status} {$text}\n");
            exit(1);
        }
        if ($stopping && $action === 'lease') {
            return (object) [];
        }
        if ($stopping && $tried >= 2) {
            fwrite(STDERR, "{$action}: status {$status}; what is unsettled comes again\n");
            exit(1);
        }
        $pause = min(30.0, 0.5 * 2 ** min($tried, 6));
        foreach ($http_response_header as $line) {
            if (stripos($line, 'retry-after:') === 0) {
                $pause = (float) trim(substr($line, 12));
            }
        }
        $pause *= 1 + mt_rand() / mt_getrandmax() / 2;
        fwrite(STDERR, sprintf("%s: status %d; again in %.1f s\n", $action, $status, $pause));
        // A signal ends the sleep.
        usleep((int) ($pause * 1000000));
    }
}

while (!$stopping) {
    // Waits up to 5 seconds for something to do, which is also how long a stop takes at most.
    $leased = call('lease', ['max' => 1, 'wait_ms' => 5000, 'lease_ms' => $leaseMs]);
    foreach ($leased->deliveries ?? [] as $delivery) {
        try {
            handle($delivery->event, $delivery->attempt);
        } catch (Throwable $error) {
            $cause = substr($error->getMessage(), 0, 1000);
            call('nack', ['delivery_ids' => [$delivery->delivery_id], 'cause' => $cause]);
            continue;
        }
        call('ack', ['delivery_ids' => [$delivery->delivery_id]]);
    }
}
