"""Elementary functions and products, as the kernels have them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _library as c
from .._library import ArgumentError
from ._arrays import Array, Half, Rest, address, address_of, apart, bfloat16_address, rest_address


def exp(x: Array, out: Array | None = None) -> Array:
    """e^x of each element, at most 1 ulp off, with the same bits on every CPU."""
    return _each("Exp", x, out)


def expm1(x: Array, out: Array | None = None) -> Array:
    """e^x - 1 of each element, small ones too, at most 1 ulp off, with the same bits on every CPU."""
    return _each("Expm1", x, out)


def log(x: Array, out: Array | None = None) -> Array:
    """The natural logarithm of each element, at most 1 ulp off, with the same bits on every CPU."""
    return _each("Log", x, out)


def log1p(x: Array, out: Array | None = None) -> Array:
    """The natural logarithm of 1 + x of each element, at most 1 ulp off, with the same bits on every CPU."""
    return _each("Log1p", x, out)


def sqrt(x: Array, out: Array | None = None) -> Array:
    """The square root of each element, correctly rounded."""
    return _each("Sqrt", x, out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """The hyperbolic tangent of each element, at most 1 ulp off, with the same bits on every CPU."""
    return _each("Tanh", x, out)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """1/(1 + e^-x) of each element, at most 1 ulp off, with the same bits on every CPU."""
    return _each("Sigmoid", x, out)


def softplus(x: Array, out: Array | None = None) -> Array:
    """log(1 + e^x) of each element, at most 1 ulp off, with the same bits on every CPU.

    It has no threshold beyond which it would be x.
    """
    return _each("Softplus", x, out)


def _each(name: str, x: Array, out: Array | None) -> Array:
    """Runs a kernel of one argument. out has x's shape and is apart from it; it is made if it is None."""
    source = address(x, "x")
    if out is None:
        out = np.empty(x.shape, np.float32)
    target = address_of(out, "out", x.shape, writable=True)
    apart([("x", x), ("out", out)])
    c.kernels()[name].run([(target, x.size), (source, x.size)])
    return out


def softmax(x: Array, out: Array | None = None, *, pool: c.Pool | None = None) -> Array:
    """The exponentials of each row of a matrix divided by their sum, with the same bits on every CPU.

    ``out`` may be x. The threads of a ``lockstep.Pool`` share the rows of 262144 elements or more, with the same bits.
    """
    return _of_rows("softmax", x, out, pool)


def log_softmax(x: Array, out: Array | None = None, *, pool: c.Pool | None = None) -> Array:
    """The logarithms of softmax: x less the largest of its row and the logarithm of the sum of exponentials there.

    ``out`` and ``pool`` are those of ``softmax``.
    """
    return _of_rows("log_softmax", x, out, pool)


def log_softmax_grad(grad: Array, y: Array, *, pool: c.Pool | None = None) -> None:
    """Makes of grad, the gradient by y = log_softmax(x), that by x."""
    rows, columns = _matrix(y, "y")
    target, source = address_of(grad, "grad", y.shape, writable=True), address(y, "y")
    c.of_rows("log_softmax_grad", source, rows, columns, target, pool)


def log_sum_exp(x: Array, out: Array | None = None, *, pool: c.Pool | None = None) -> Array:
    """The logarithm of the sum of the exponentials of each row of a matrix."""
    rows, columns = _matrix(x)
    if out is None:
        out = np.empty(rows, np.float32)
    target = address_of(out, "out", (rows,), writable=True)
    c.of_rows("log_sum_exp", address(x, "x"), rows, columns, target, pool)
    return out


def _of_rows(name: str, x: Array, out: Array | None, pool: c.Pool | None) -> Array:
    rows, columns = _matrix(x)
    if out is None:
        out = np.empty(x.shape, np.float32)
    target = address_of(out, "out", x.shape, writable=True)
    c.of_rows(name, address(x, "x"), rows, columns, target, pool)
    return out


def split_bf16(x: Array) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int16]]:
    """Splits each element into the nearest bfloat16, of two the larger in magnitude, and what its bits lack then.

    join_bf16 makes the same bits of the two, whatever they are.
    """
    source = address(x, "x")
    halves, rests = np.empty(x.shape, np.uint16), np.empty(x.shape, np.int16)
    c.kernels()["SplitBF16"].run([(halves.ctypes.data, x.size), (rests.ctypes.data, x.size), (source, x.size)])
    return halves, rests


def join_bf16(halves: Half, rests: Rest, out: Array | None = None) -> Array:
    """Joins what split_bf16 has split, or an optimizer with rests has left: bfloat16 or its bits, and the rests."""
    upper = bfloat16_address(halves, "halves", getattr(halves, "shape", ()))
    lower = rest_address(rests, "rests", halves.shape)
    if out is None:
        out = np.empty(halves.shape, np.float32)
    target = address_of(out, "out", halves.shape, writable=True)
    apart([("halves", halves), ("out", out)])
    apart([("rests", rests), ("out", out)])
    c.kernels()["JoinBF16"].run([(target, out.size), (upper, out.size), (lower, out.size)])
    return out


def dots(x: Array, w: Array, out: Array | None = None) -> Array:
    """The product x @ w of a matrix and a vector, each row summed in 32 lanes: the same bits on every CPU."""
    rows, columns = _matrix(x)
    matrix, vector = address(x, "x"), address_of(w, "w", (columns,))
    if out is None:
        out = np.empty(rows, np.float32)
    target = address_of(out, "out", (rows,), writable=True)
    apart([("x", x), ("out", out)])
    apart([("w", w), ("out", out)])
    c.kernels()["Dots"].run([(target, rows), (matrix, x.size), (vector, columns)])
    return out


def add_rows(g: Array, x: Array, z: Array) -> None:
    """Adds the rows of a matrix, each times its number: g += z @ x, one row after the other."""
    rows, columns = _matrix(x)
    target = address_of(g, "g", (columns,), writable=True)
    matrix, factors = address(x, "x"), address_of(z, "z", (rows,))
    apart([("x", x), ("g", g)])
    apart([("z", z), ("g", g)])
    c.kernels()["RankOne"].run([(target, columns), (matrix, x.size), (factors, rows)])


def matmul(a: Array, b: Array, out: Array | None = None, *, pool: c.Pool | None = None) -> Array:
    """The product a @ b of two matrices, which may be transposed: with the same bits on every CPU.

    Products are added without being rounded (fused multiply-add), 256 of them in one sum, in one order. The
    threads of a ``lockstep.Pool`` share those that are as large as 256 x 256 matrices, with the same bits.
    """
    (rows, count), (others, columns) = _matrix(a, "a"), _matrix(b, "b")
    if count != others:
        raise ArgumentError(f"b has the shape {b.shape}, want {(count, columns)}")
    left, right = _either_order(a, "a"), _either_order(b, "b")
    if out is None:
        out = np.empty((rows, columns), np.float32)
    target = c.Matrix(address_of(out, "out", (rows, columns), writable=True), rows, columns, columns, 1)
    apart([("a", a), ("out", out)])
    apart([("b", b), ("out", out)])
    c.multiply(target, left, right, pool)
    return out


def _either_order(x: Array, name: str) -> c.Matrix:
    """A matrix in C's order, or in Fortran's."""
    rows, columns = x.shape
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return c.Matrix(address(x.T, name), rows, columns, 1, rows)
    return c.Matrix(address(x, name), rows, columns, columns, 1)


def _matrix(x: Array, name: str = "x") -> tuple[int, int]:
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        raise ArgumentError(f"{name} has the shape {np.shape(x)}, want a matrix")
    return x.shape[0], x.shape[1]


def sum_squares(x: Array) -> float:
    """The sum of squares in float64 and in one order: the square of a norm."""
    return c.sum_squares(address(x, "x"), x.size)
