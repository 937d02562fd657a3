"""Compilation of kernels with numba, and where the compiled code is kept.

numba notices when the file of a cached kernel changes, but not when a function that it calls in another file does. So
the cache directory carries a hash of all kernel sources: any edit starts from an empty cache.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

KERNEL_FOLDERS = ("xentrace",)
"""Folders of the package, all of whose modules go into the hash."""

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


def _cache_directory() -> str | None:
    """Return a writable directory for compiled kernels, or None where there is none: then every process compiles."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    roots = [Path(chosen)] if chosen else [Path(home) / "eptreplay"]
    user = os.getuid() if hasattr(os, "getuid") else "all"
    roots.append(Path(tempfile.gettempdir()) / f"eptreplay-kernels-{user}")
    for root in roots:
        directory = root / _source_hash()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        # Compiled code is executed: a folder that belongs to somebody else is not trusted.
        if os.access(directory, os.W_OK) and (user == "all" or directory.stat().st_uid == user):
            return str(directory)
    return None


_CACHE_DIRECTORY = _cache_directory()


def is_compiled() -> bool:
    """Tell whether compiled kernels of exactly these sources lie in the cache, so that nothing has to be compiled."""
    if config.DISABLE_JIT or _CACHE_DIRECTORY is None:
        return bool(config.DISABLE_JIT)
    return any(Path(_CACHE_DIRECTORY).rglob("decode.decode-*.nbc"))


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
