"""`meds1 logs`."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from typing import Annotated

import typer

from registry.console import answering
from registry.errors import Meds1Error, MissingError, UsageError
from registry.options import Choice, ConfigFile, Files, Json, Name, RegistryFile, chosen, stages_of
from registry.schema import Stage
from registry.secrets import masked
from slurm.follow import follow, shown, standing_of
from slurm.logs import Attempt, Tail, find_attempt, log_files

log = logging.getLogger("meds1")


def logs(  # noqa: PLR0913 - one parameter per option of the command line
    name: Name,
    stage: Annotated[str | None, typer.Argument(help="Default: the stage that was the last to do something.")] = None,
    following: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the attempt ends, or Ctrl-C.")] = False,
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Only this process of several.")] = None,
    attempt: Annotated[int | None, typer.Option("--attempt", min=1, help="Default: the newest one.")] = None,
    lines: Annotated[int | None, typer.Option("-n", "--lines", min=0, help="Only the last lines of each log.")] = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the logs of the newest attempt, and where they are."""
    with answering("logs", as_json) as answer:
        if following and as_json:
            raise UsageError("--follow prints lines as they come; leave out --json")
        wanted: Stage | None = stages_of([stage])[0] if stage else None
        opened, view, selected = chosen(answer, Files(registry, config), Choice([name]))
        if len(selected) > 1:
            raise UsageError(f"{name!r} means {len(selected)} experiments; logs shows those of one")
        found = find_attempt(view.state, selected[0], wanted, attempt)
        tail, there = Tail(found, rank), bool(log_files(found, rank))
        if not following:
            read = tail.more(to_the_end=True)
            if not there:
                raise MissingError(_no_log(found, rank, standing_of(opened, found)))
            answer.lines += shown(read, lines)
            answer.data = {
                "experiment": found.experiment,
                "stage": found.stage,
                "attempt": found.number,
                "folder": str(found.folder),
                "files": [
                    {
                        "path": str(file.path),
                        "rank": file.rank,
                        **({} if file.shard is None else {"shard": file.shard}),
                        "stream": file.stream,
                        "lines": shown({file: text}, lines),
                    }
                    for file, text in read.items()
                ],
            }
        log.info("%s: logs in %s", found, found.folder)
    if following:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `meds1 logs -f | head` ends without a word
        try:
            with contextlib.suppress(KeyboardInterrupt):
                follow(opened, found, tail, lines)
        except Meds1Error as error:
            print(masked(f"meds1 logs: {error}"), file=sys.stderr)
            raise SystemExit(error.exit_code) from None


def _no_log(found: Attempt, rank: int | None, standing: tuple[bool, str]) -> str:
    """Why there is nothing to show."""
    ended, state = standing
    ranks = sorted({file.rank for file in log_files(found)})
    if ranks:
        return f"{found}: rank {rank} has no log; ranks with one: {', '.join(map(str, ranks))}"
    if found.last.job.get("cluster") == "here":
        return f"{found} ({state}) was run by a command that shows its output itself; its folder is {found.folder}"
    return f"{found} {'left no log' if ended else 'has no log yet'} ({state}); its folder is {found.folder}"
