"""Compilation of kernels with numba, and where the compiled code is kept.

numba notices when the file of a cached kernel changes, but not when a function that it calls in another file does. So
the cache directory carries a hash of all kernel sources: any edit starts from an empty cache.
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

KERNEL_FOLDERS = ("xentrace",)
"""Folders of the package, all of whose modules go into the hash."""

CACHE_BYTES = 8 << 20
"""More than all compiled kernels take."""

F = TypeVar("F", bound=Callable[..., Any])

config: Any = numba.config

i64 = cast("Callable[[Any], int]", np.int64)
"""Widens a value inside a kernel, where arithmetic on narrow or unsigned types would wrap or turn into floats."""


def _source_hash() -> str:
    digest = hashlib.sha256(f"numba {numba.__version__}, bounds checks {config.BOUNDSCHECK}".encode())
    package = Path(__file__).parent.parent
    for folder in KERNEL_FOLDERS:
        for module in sorted((package / folder).glob("*.py")):
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


def _cache_directory() -> str | None:
    """Return a writable directory for compiled kernels, or None where there is none: then every process compiles."""
    name = _source_hash()
    for root in _cache_roots():
        directory = root / name
        with suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Compiled code is executed: a folder that belongs to somebody else is not trusted.
            if directory.stat().st_uid == os.getuid() and (_compiled_in(directory) or _has_room(directory)):
                return str(directory)
    return None


def _compiled_in(directory: Path) -> bool:
    return any(directory.rglob("decode.decode-*.nbc"))


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


_CACHE_DIRECTORY = _cache_directory()


def is_compiled() -> bool:
    """Tell whether compiled kernels of exactly these sources lie in the cache, so that nothing has to be compiled."""
    if config.DISABLE_JIT or _CACHE_DIRECTORY is None:
        return bool(config.DISABLE_JIT)
    return _compiled_in(Path(_CACHE_DIRECTORY))


@contextmanager
def _own_cache() -> Iterator[None]:
    """Point numba at our cache while kernels are declared, and leave other users of numba in this process alone."""
    before = config.CACHE_DIR
    config.CACHE_DIR = _CACHE_DIRECTORY or before
    try:
        yield
    finally:
        config.CACHE_DIR = before


def kernel(function: F) -> F:
    """Compile ``function`` on its first call: without the GIL, cached, with C rules for division."""
    with _own_cache():
        compiled = numba.njit(nogil=True, cache=_CACHE_DIRECTORY is not None, error_model="numpy")(function)
    return cast("F", compiled)
