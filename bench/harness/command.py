"""What the commands have in common: how they speak and how they are ended."""

import argparse
import os
import pathlib
import signal
import sys


def say(text, code=None):
    """Tells people, apart from the result; what is returned is an exit code."""
    print(text, file=sys.stderr, flush=True)
    return code


def executable(text):
    """The value of a flag that names a program."""
    path = pathlib.Path(text)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text} is no program; build one with cargo build --release")
    return path.resolve()


def positive(text):
    """The value of a flag that is a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def end_in_order():
    """Ctrl-C and SIGTERM become a KeyboardInterrupt."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)


def _interrupted(*_):
    # What is running is ended in order; a second Ctrl-C must not cut that short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
