"""Memory that a kernel is going to need, asked for ahead of time.

A replay goes through as many programs as there are pCPUs, a row of one after a row of another. With hundreds of them no
processor sees by itself what comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import numpy_support
from numpy.typing import NDArray

from eptreplay.jit import COMPILES, part

Untyped = Any
"""What numba and llvmlite say nothing about."""


@intrinsic
def _prefetch(_context: Untyped, array: Untyped, _index: Untyped) -> Untyped:
    """Compile to an instruction of the processor."""

    def generate(context: Untyped, builder: Untyped, signature: Untyped, arguments: Untyped) -> Untyped:
        kind = signature.args[0]
        i8, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        item = context.get_constant(types.intp, numpy_support.as_dtype(kind.dtype).itemsize)
        begin = builder.bitcast(context.make_array(kind)(context, builder, arguments[0]).data, i8)
        declared = ir.FunctionType(ir.VoidType(), [i8, i32, i32, i32])
        find: Untyped = cgutils.get_or_insert_function
        instruction = find(builder.module, declared, "llvm.prefetch.p0i8")
        to_read, for_long, data = i32(0), i32(3), i32(1)
        builder.call(instruction, [builder.gep(begin, [builder.mul(arguments[1], item)]), to_read, for_long, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


_prefetch_item = cast("Callable[[NDArray[Any], int], None]", _prefetch)


@part
def prefetch(array: NDArray[Any], index: int) -> None:
    """Have the processor fetch an item that is going to be needed; there need not be one of that number."""
    if COMPILES:
        _prefetch_item(array, index)
