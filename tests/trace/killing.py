"""Ingests a recording again and again, killed one step later each time, and tells what each left behind.

Run as ``python -m tests.trace.killing SOURCE TARGET``. Prints a line per attempt: the signal that ended it, then the
digest of the target or ``none``. A step is a call that changes what is on the disk. The last attempt is not killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from eptreplay.trace.ingest import ingest

STEPS = ("mkdir", "rename", "fsync", "unlink", "rmdir")


def die_at(step: int) -> None:
    """Have this process killed just before its ``step``-th change of the disk."""
    left = step

    def guard(change: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 (whatever the change takes and gives)
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)

        return guarded

    for name in STEPS:
        setattr(os, name, guard(getattr(os, name)))


def digest(folder: Path) -> str:
    """Return a hash of all files in a folder and their names."""
    if not folder.exists():
        return "none"
    whole = sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def main(source: str, target: str) -> None:
    """Let one attempt after the other be killed, until one gets through."""
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += 1
        # The parent has done nothing yet that starts threads, so that its children may.
        child = os.fork()
        if child == 0:
            die_at(step)
            ingest([source], target, events="all", force=True, input_bytes=4096)
            os._exit(0)
        _, wait = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(wait)
        print(-status, digest(Path(target)), flush=True)  # noqa: T201 (what this program is for)


if __name__ == "__main__":
    main(*sys.argv[1:])
