"""The command line: every verb is a thin shell over a public function of the package.

``main`` maps what happens to exit codes: 0 done, 2 wrong usage, 3 bad input, 4 could not write, 130 interrupted, 70
our own bug.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from eptreplay import __version__
from eptreplay.commands import events, export, info, ingest
from eptreplay.errors import EptreplayError, OutputError

EXIT_USAGE = 2
EXIT_WRITE = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
ISSUES = "the project's issue tracker"

app = typer.Typer(
    name="eptreplay",
    help="Replay xentrace recordings under any EPT invalidation strategy.",
    epilog="Example: eptreplay info traces/r12-migrate-live-4vcpu-mem-hvm-sched.xentrace.xz",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (ingest, info, events, export):
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
    """Replay xentrace recordings under any EPT invalidation strategy: what each would cost, and whether it is safe."""


class _Terminated(BaseException):
    """SIGTERM, as an exception: temporary files are removed on the way out."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _complain(message: str) -> None:
    sys.stderr.write(f"eptreplay: {' '.join(message.split())}\n")


def run(arguments: list[str] | None = None) -> int:  # noqa: PLR0911 (one return per exit code)
    """Carry out a command line and return its exit code; expected errors become one line on standard error."""
    try:
        result = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except EptreplayError as error:
        _complain(str(error))
        return error.exit_code
    except TyperException as error:
        _complain(f"{error.format_message()} (see eptreplay --help)")
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except _Terminated:
        _complain("terminated")
        return EXIT_TERMINATED
    except BrokenPipeError:
        return 0
    except OSError as error:
        _complain(str(OutputError(f"standard output: cannot be written: {error.strerror or error}")))
        return EXIT_WRITE
    except Exception as error:
        if os.environ.get("EPTREPLAY_TRACEBACK"):
            raise
        _complain(
            f"internal error: {type(error).__name__}: {error}; please report it with the command line, and with what"
            " EPTREPLAY_TRACEBACK=1 prints"
        )
        return EXIT_BUG


def main() -> NoReturn:
    """Entry point of the command ``eptreplay``."""
    signal.signal(signal.SIGTERM, _terminate)
    code = run()
    try:
        sys.stdout.flush()
    except OSError:
        # Nobody reads on, or the disk is full and has been reported: keep Python from trying again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
