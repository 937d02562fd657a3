"""The command line: every verb is a thin shell over a public function of the package.

``main`` maps what happens to exit codes: 0 done, 2 wrong usage, 3 bad input, 4 could not write, 130 interrupted, 70
our own bug.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from io import TextIOWrapper
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from eptreplay import __version__
from eptreplay.commands import events, export, info, ingest, presets, profiles, replay, report, strategies
from eptreplay.commands.console import note
from eptreplay.errors import EptreplayError, OutputError

EXIT_USAGE = 2
EXIT_WRITE = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

GC_THRESHOLD = 200_000
"""New objects between two garbage collections. Verbs make few, but what they import makes hundreds of thousands, all to
stay: with Python's own 700 a quarter of a second of each start goes into looking through them."""

app = typer.Typer(
    name="eptreplay",
    epilog="Example: eptreplay report traces/r12-migrate-live-4vcpu-mem-hvm-sched.xentrace.xz",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (report, ingest, info, replay, strategies, presets, profiles, events, export):
    app.command(name=verb.__name__.rpartition(".")[2], epilog=verb.EXAMPLES)(verb.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eptreplay {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Replay recordings of Xen hosts under any EPT invalidation strategy: what it would have cost."""


class _Terminated(BaseException):
    """SIGTERM, as an exception: temporary files are removed on the way out."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def run(arguments: list[str] | None = None) -> int:  # noqa: PLR0911 (one return per exit code)
    """Carry out a command line and return its exit code; expected errors become one line on standard error."""
    try:
        result = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        if result == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            note("interrupted")
        return result if isinstance(result, int) else 0
    except EptreplayError as error:
        note(str(error))
        return error.exit_code
    except TyperException as error:
        note(f"{error.format_message()} (see eptreplay --help)")
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return EXIT_INTERRUPTED
    except _Terminated:
        note("terminated")
        return EXIT_TERMINATED
    except (BrokenPipeError, SystemExit):  # typer and rich leave with status 1 when nobody reads on
        return 0
    except OSError as error:
        note(str(OutputError(f"standard output: cannot be written: {error.strerror or error}")))
        return EXIT_WRITE
    except Exception as error:
        if os.environ.get("EPTREPLAY_TRACEBACK"):
            raise
        note(
            f"internal error: {type(error).__name__}: {error}; please report it with the command line, and with what"
            " EPTREPLAY_TRACEBACK=1 prints"
        )
        return EXIT_BUG


def main() -> NoReturn:
    """Entry point of the command ``eptreplay``."""
    gc.set_threshold(GC_THRESHOLD)
    _prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    code = run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Nobody reads on, or the disk is full and has been reported: keep Python from trying again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    gc.freeze()  # else Python looks once more through all that was imported
    sys.exit(code)


def _prepare_streams() -> None:
    """Let any name be printed, and put the null device where the caller has closed a standard stream.

    Without it the next file that is opened would take the stream's place. What was standard output is opened for
    reading: a result that cannot be written is an error, as on a full disk.
    """
    for name, flags, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
