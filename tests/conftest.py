"""Where the tests find recordings, traces and ``xenalyze``.

Environment:
    ``EPTREPLAY_RECORDINGS``  folder of all recordings; tests marked ``recordings`` are skipped where it is unset
    ``EPTREPLAY_XENALYZE``    a ``xenalyze`` to compare with, instead of the one that ``make peers`` unpacks
    ``CI``                    if ``true``, a missing ``xenalyze`` is a failure; elsewhere its tests are skipped
"""

from __future__ import annotations

import lzma
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
TRACES = ROOT / "traces"
SUFFIX = ".xentrace.xz"

Unpack = Callable[[str | Path], Path]

# The first example of a property pays for compiling the kernels, so a deadline would judge the compiler. In CI the
# examples are the same in every run: a red run then speaks of the change.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``recordings`` where no folder is named; a named folder that lacks a file fails them."""
    if item.get_closest_marker("recordings") and not os.environ.get("EPTREPLAY_RECORDINGS"):
        pytest.skip("EPTREPLAY_RECORDINGS is unset: it names the folder of recordings")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured and noted with ``record_property("measured", line)``."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    lines = [line for report in reports for name, line in report.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(str(line))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of all recordings, with ``README.md`` and ``oracle/`` beside them."""
    named = os.environ.get("EPTREPLAY_RECORDINGS")
    if not named:
        pytest.skip("EPTREPLAY_RECORDINGS is unset: it names the folder of recordings")
    if not Path(named).is_dir():
        pytest.fail(f"EPTREPLAY_RECORDINGS names no folder: {named}")
    return Path(named)


@pytest.fixture(scope="session")
def traces() -> Path:
    """Folder of the recordings that come with the repository."""
    return TRACES


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """Return a function that decompresses a recording, once per session even across worker processes.

    It takes the path of an ``.xz`` file, or the name of a recording (``r04`` or in full), which it looks for in
    ``traces/`` and then in ``EPTREPLAY_RECORDINGS``. The file that it returns is shared: copy it before changing it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # one folder per session, with the workers' own folders in it

    def unpack(recording: str | Path) -> Path:
        packed = recording if isinstance(recording, Path) else find_recording(recording)
        target = folder / "unpacked" / packed.stem
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            # Workers may both get here: each writes a file of its own, and the rename is atomic.
            with lzma.open(packed) as source, tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            Path(sink.name).replace(target)
        return target

    return unpack


def find_recording(name: str) -> Path:
    """Return the ``.xz`` file of recording ``name``; fails the test that asks for one that is not there."""
    folders = [TRACES, *(Path(x) for x in [os.environ.get("EPTREPLAY_RECORDINGS")] if x)]
    for folder in folders:
        found = sorted([*folder.glob(f"{name}{SUFFIX}"), *folder.glob(f"{name}-*{SUFFIX}")])
        if found:
            return found[0]
    pytest.fail(f"no recording {name} in {' or '.join(map(str, folders))}")


@pytest.fixture(scope="session")
def xenalyze() -> Path:
    """Path of Debian's ``xenalyze``, the independent reader that ours is compared with."""
    named = os.environ.get("EPTREPLAY_XENALYZE")
    program = Path(named) if named else ROOT / "build" / "peers" / "usr" / "bin" / "xenalyze"
    if os.access(program, os.X_OK) and program.is_file():
        return program.absolute()
    why = f"no xenalyze at {program}: run `make peers` or set EPTREPLAY_XENALYZE"
    if named or os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
