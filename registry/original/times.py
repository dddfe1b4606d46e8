"""Times of results that cannot be: no time at all, in the future, before what the result was made from.

The original project wrote local times, mostly without a zone and in places with a Z that was not meant. So times are
compared like with like; one with a zone and one without count as ordered only when they are 14 hours apart, which is
as far as any clock is from UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from registry.original.case import Contradiction, Result
from registry.schema import PARENT, Stage

_ANY_ZONE = timedelta(hours=14)


def wrong_times(results: Mapping[Stage, Result], now: datetime) -> Iterator[Contradiction]:
    """What is wrong with the times of one experiment's results; `now` has a zone."""
    times: dict[Stage, datetime] = {}
    for stage, result in results.items():
        given = result.entry.get("timestamp")
        read = _read(given)
        if read is not None and _plain(read) <= _plain(now) + _ANY_ZONE:
            times[stage] = read
        elif given is not None:
            yield Contradiction(
                experiment=result.experiment,
                path=f"{result.where}.timestamp",
                value=given,
                other="" if read is None else "now",
                other_value=None if read is None else now.isoformat(timespec="seconds"),
                message="is no ISO 8601 time" if read is None else "lies in the future",
                remedy='mend it, as in "2026-11-20T17:00:00Z"',
            )
    for stage in times:
        # A fingerprint says what a result was made from, whenever its parent was run again since.
        if not results[stage].entry.get("fingerprint") and not results[stage].reused:
            yield from _older_than_parent(stage, results, times)


def _older_than_parent(
    stage: Stage, results: Mapping[Stage, Result], times: Mapping[Stage, datetime]
) -> Iterator[Contradiction]:
    parent = PARENT[stage]
    while parent is not None:
        if parent in times and _surely_after(times[parent], times[stage]):
            result = results[stage]
            yield Contradiction(
                experiment=result.experiment,
                path=f"{result.where}.timestamp",
                value=result.entry["timestamp"],
                other=f"{results[parent].where}.timestamp",
                other_value=results[parent].entry["timestamp"],
                message=f"is older than the {parent} that it was made from",
                remedy=f"{result.mend}, or mend the time that is wrong",
            )
            return
        parent = PARENT[parent]


def _surely_after(one: datetime, other: datetime) -> bool:
    alike = (one.tzinfo is None) == (other.tzinfo is None)
    return _plain(one) - _plain(other) > (timedelta() if alike else _ANY_ZONE)


def _plain(time: datetime) -> datetime:
    """UTC where the zone is known, else what the clock showed; without a zone in either case."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _read(given: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(given) if isinstance(given, str) else None
        _ = time and _plain(time)
    except (ValueError, OverflowError):  # the latter where UTC is before or after all years
        return None
    return time
