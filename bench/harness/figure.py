"""What one measurement says, and what is wanted of a row."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measurement."""

    # In the unit of its row.
    value: float
    # Everything else that was measured with it.
    details: dict
    # What was run, so that anybody can run it again.
    command: str


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be reached, in words and as a test."""

    words: str
    reached: object


def at_least(ratio):
    """So many times the peer."""
    return Wanted(f"{ratio} ×", lambda found: found >= ratio)


def at_most(value, unit):
    """Not more than that."""
    return Wanted(f"at most {value} {unit}", lambda found: found <= value)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: ours, and beside it none, one or several peers."""

    name: str
    title: str
    # Of ours and of the peers alike: events/s, ms, MiB.
    unit: str
    # Measures ours: a Figure.
    ours: object
    # What ours promises with its answer, where that matters.
    durable: str = ""
    # What ours has to reach by itself.
    wanted: Wanted = None
    # Pairs of a peer and the ratio that is wanted, None for orientation.
    beside: tuple = ()
    # What a reader has to know.
    note: str = ""
