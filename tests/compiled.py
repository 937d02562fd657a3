"""Whether the kernels are compiled: property tests try fewer examples where they run as plain Python."""

from __future__ import annotations

from eptreplay.xentrace.decode import decode

COMPILED = hasattr(decode, "py_func")
