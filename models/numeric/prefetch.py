"""Asking memory for what a kernel will read soon."""

from typing import TYPE_CHECKING, Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from models.numeric.kernels import inline

if TYPE_CHECKING:
    from collections.abc import Callable

AHEAD = 4
"""Rows that a loop asks for before it needs them."""
_LINE = 64
"""Bytes that memory hands over at once."""


@inline
def prefetch_row(table: Any, row: int) -> None:
    """Begin to load a whole row of a contiguous (N, D) table, and go on at once; the row must be in bounds.

    Rows that lie scattered over a large table come from memory one by one, a hundred nanoseconds each, unless they
    are asked for before they are needed.
    """
    width = table.shape[1]
    for column in range(0, width, _LINE // table.itemsize):
        prefetch(table, row * width + column)


def _typed(_typing: Any, array: Any, _index: Any) -> Any:
    """Tell numba how to call the processor's instruction: for the cache line of `array.ravel()[index]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(held.data, [arguments[1]]), cgutils.voidptr_t)
        integer = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, integer, integer, integer])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
        read, keep, data = ir.Constant(integer, 0), ir.Constant(integer, 3), ir.Constant(integer, 1)
        builder.call(instruction, [address, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


prefetch = cast("Callable[[Any, int], None]", intrinsic(_typed))
"""Begin to load the cache line where the n-th cell of a contiguous array begins; n must be in bounds."""
