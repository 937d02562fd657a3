"""Compilation of kernels with numba, and where the compiled code is kept.

numba notices when the file of a cached kernel changes, but not when a function that it calls in another file does. So
the cache directory carries a hash of all sources that kernels of one program consist of, or take numbers from: any edit
starts from an empty cache.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from eptreplay.interpreted import interpreted

DECODER = ("xentrace",)
ENGINE = ("machine", "replay")
"""Programs that consist of kernels: the folders of the package whose modules make up each of them."""

PROGRAMS = {folder: folders for folders in (DECODER, ENGINE) for folder in folders}
MAIN_KERNELS = {DECODER: "decode.decode", ENGINE: "engine.run"}
"""The kernel that everything else of a program is compiled into: its file's name and its own."""

CONSTANTS = {DECODER: (), ENGINE: ("causes.py", "p2m_types.py", "strategies/decision.py", "workload/schema.py")}
"""Modules elsewhere whose numbers the kernels of a program contain."""

CACHE_BYTES = 8 << 20
"""More than all compiled kernels take."""

_OWN_SOURCE = Path(__file__).read_bytes()

_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without the GIL; C rules for division; and without reference counting, which takes 20 times as long as the work of a
kernel that takes arrays out of tuples. Kernels allocate nothing, so nothing needs to be counted.
"""

_INSIDE: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""For what only kernels call: to be called from Python, each function would need code that takes its tuples apart."""

F = TypeVar("F", bound=Callable[..., Any])

config: Any = numba.config

COMPILES = not config.DISABLE_JIT
"""Whether kernels are compiled in this process."""

i64 = cast("Callable[[Any], int]", np.int64)
"""Widens a value inside a kernel, where arithmetic on narrow or unsigned types would wrap or turn into floats."""


def _source_hash(folders: tuple[str, ...]) -> str:
    digest = hashlib.sha256(f"numba {numba.__version__}, bounds checks {config.BOUNDSCHECK}".encode())
    digest.update(_OWN_SOURCE)
    package = Path(__file__).parent
    modules = [package / name for name in CONSTANTS[folders]]
    for folder in folders:
        modules += sorted((package / folder).glob("*.py"))
    for module in modules:
        digest.update(module.read_bytes())
    return digest.hexdigest()[:16]


def _cache_roots() -> Iterator[Path]:
    """Yield where caches may lie, best first; without a home or space for temporary files there are fewer."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen)
    else:
        with suppress(RuntimeError):
            yield Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "eptreplay"
    with suppress(OSError):
        yield Path(tempfile.gettempdir()) / f"eptreplay-kernels-{os.getuid()}"


def _cache_directory(folders: tuple[str, ...]) -> str | None:
    """Return a writable directory for compiled kernels, or None where there is none: then every process compiles."""
    name = _source_hash(folders)
    for root in _cache_roots():
        directory = root / name
        with suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Compiled code is executed: a folder that belongs to somebody else is not trusted.
            if directory.stat().st_uid == os.getuid() and (_compiled_in(directory, folders) or _has_room(directory)):
                return str(directory)
    return None


def _compiled_in(directory: Path, folders: tuple[str, ...]) -> bool:
    return any(directory.rglob(f"{MAIN_KERNELS[folders]}-*.nbc"))


def _has_room(directory: Path) -> bool:
    """Tell whether compiled kernels fit in: numba fails where it cannot save what it has compiled."""
    probe = directory / f"probe-{os.getpid()}"
    try:
        probe.write_bytes(bytes(CACHE_BYTES))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


_directories: dict[tuple[str, ...], str | None] = {}


def _directory_of(folders: tuple[str, ...]) -> str | None:
    if folders not in _directories:
        _directories[folders] = _cache_directory(folders)
    return _directories[folders]


def is_compiled(folders: tuple[str, ...]) -> bool:
    """Tell whether compiled kernels of exactly these sources lie in the cache, so that nothing has to be compiled."""
    directory = _directory_of(folders)
    if config.DISABLE_JIT or directory is None:
        return bool(config.DISABLE_JIT)
    return _compiled_in(Path(directory), folders)


@contextmanager
def _own_cache(directory: str | None) -> Iterator[None]:
    """Point numba at our cache while kernels are declared, and leave other users of numba in this process alone."""
    before = config.CACHE_DIR
    config.CACHE_DIR = directory or before
    try:
        yield
    finally:
        config.CACHE_DIR = before


def kernel(function: F) -> F:
    """Compile ``function`` on its first call: without the GIL, cached, with C rules for division."""
    program = PROGRAMS.get(function.__module__.partition(".")[2].partition(".")[0], DECODER)
    if not COMPILES:
        return interpreted(function) if program == ENGINE else function
    directory = _directory_of(program)
    with _own_cache(directory):
        compiled = numba.njit(cache=directory is not None, **_FLAGS)(function)
    return cast("F", compiled)


def part(function: F) -> F:
    """Compile ``function`` as a part of each kernel that calls it, so that a call costs nothing.

    For functions whose arguments are tuples of many arrays: passing those takes longer than what they do.
    """
    return cast("F", numba.njit(forceinline=True, **_FLAGS, **_INSIDE)(function))


def piece(function: F) -> F:
    """Compile ``function`` once, for all kernels that call it: what is rare, or large beside the cost of a call."""
    return cast("F", numba.njit(**_FLAGS, **_INSIDE)(function))
