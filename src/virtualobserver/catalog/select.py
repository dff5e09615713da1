"""Conditions on the columns of a catalogue, worked out without ever running their text as a program."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import CatalogError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Value

__all__ = ["evaluate"]

Unary = Callable[[Value], Value]  # of numbers, and of columns of them
Binary = Callable[[Value, Value], Value]

_BINARY: Final[dict[type[ast.operator], Binary]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: Final[dict[type[ast.cmpop], Binary]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Final[dict[str, Unary]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log10": np.log10,
    "isfinite": np.isfinite,
}
_LONGEST: Final = 2000
"""Characters; no condition a person writes is longer, and parsing stays quick."""


def evaluate(condition: str, columns: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Tell which rows meet a condition.

    Parameters
    ----------
    condition
        Numbers, text in quotes, column names (in backticks if they are no plain words), ``and or not``,
        comparisons, chains such as ``10 < mag < 15``, ``in ('V', 'R')``, arithmetic, and the functions
        ``abs``, ``sqrt``, ``log10``, ``isfinite``.
    columns
        Name to array of shape (n,).

    Returns
    -------
    array of bool, shape (n,)
        A row in which a compared value is missing (NaN, None) does not meet the comparison.

    Raises
    ------
    CatalogError
        If the condition cannot be read, names a column that is not there, or asks for anything else.
    """
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = f"column_{len(quoted)}_"
        quoted[name] = match.group(1)
        return name

    text = re.sub(r"`([^`]+)`", stand_in, condition.strip())
    if len(text) > _LONGEST:
        msg = f"the condition 'where' has {len(text)} characters; at most {_LONGEST} are understood"
        raise CatalogError(msg)
    try:
        tree = ast.parse(text, mode="eval")
        worker = _Evaluator(condition, columns, quoted)
        with np.errstate(all="ignore"):
            result = np.asarray(worker.value(tree.body))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        if isinstance(error, CatalogError):
            raise
        msg = f"the condition 'where: {condition}' cannot be worked out: {error}"
        raise CatalogError(msg) from error
    if result.dtype != np.bool_:
        msg = f"the condition 'where: {condition}' gives {result.dtype} values, not true or false"
        raise CatalogError(msg)
    size = next((len(values) for values in columns.values()), 0)
    return np.broadcast_to(result, (size,)).copy()


class _Evaluator:
    def __init__(self, text: str, columns: Mapping[str, Array], quoted: Mapping[str, str]) -> None:
        self._text = text
        self._columns = columns
        self._quoted = quoted

    def value(self, node: ast.expr) -> Value:  # noqa: PLR0911
        match node:
            case ast.Constant(value=bool() | str() as constant):
                return constant
            case ast.Constant(value=int() as constant) if abs(constant) < 2**63:
                return np.int64(constant)
            case ast.Constant(value=float() as constant):
                return np.float64(constant)
            case ast.Name(id=name):
                return self._column(name)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BoolOp(op=op, values=parts):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return join.reduce(np.broadcast_arrays(*[self._truth(part) for part in parts]))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](self._number(left), self._number(right))
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](self._number(argument))
        return self._refuse(node)

    def _refuse(self, node: ast.AST) -> Value:
        part = ast.unparse(node)
        msg = (
            f"the condition 'where: {self._text}' may hold columns, numbers, text, comparisons, arithmetic "
            f"and {', '.join(_FUNCTIONS)}; {part!r} is none of these"
        )
        raise CatalogError(msg)

    def _column(self, name: str) -> Array:
        name = self._quoted.get(name, name)
        if name in self._columns:
            return np.asarray(self._columns[name])
        near = get_close_matches(name, self._columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self._columns)}"
        msg = f"the condition 'where: {self._text}' names the column {name!r}, which is not there; {hint}"
        raise CatalogError(msg)

    def _number(self, node: ast.expr) -> Value:
        value = self.value(node)
        if np.asarray(value).dtype.kind not in "iufb":
            self._refuse(node)
        # Small unsigned and 32-bit columns would wrap or lose digits in arithmetic.
        return value if np.asarray(value).dtype.kind == "i" else np.asarray(value, dtype=np.float64)

    def _truth(self, node: ast.expr) -> NDArray[np.bool_]:
        value = np.asarray(self.value(node))
        if value.dtype != np.bool_:
            self._refuse(node)
        return value

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return ~self._truth(node.operand)
        if isinstance(node.op, ast.USub):
            return -self._number(node.operand)
        return self._number(node.operand) if isinstance(node.op, ast.UAdd) else self._refuse(node)

    def _compare(self, node: ast.Compare) -> Value:
        result: Value = True
        left = self.value(node.left)
        for op, part in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn) and isinstance(part, ast.List | ast.Tuple):
                inside = _is_in(left, [self.value(item) for item in part.elts])
                result = result & (_present(left) & ~inside if isinstance(op, ast.NotIn) else inside)
                continue
            if type(op) not in _COMPARE:
                self._refuse(node)
            right = self.value(part)
            left_is_text, right_is_text = (np.asarray(side).dtype.kind in "OUS" for side in (left, right))
            if left_is_text != right_is_text:
                msg = f"the condition 'where: {self._text}' compares text with numbers: {ast.unparse(node)!r}"
                raise CatalogError(msg)
            result = result & _compared(_COMPARE[type(op)], left, right)
            left = right
        return result


def _present(values: object) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.dtype.kind in "fO":
        return np.asarray(array == array, dtype=bool)  # noqa: PLR0124 - only NaN differs from itself
    return np.ones(array.shape, dtype=bool)


def _compared(compare: Binary, left: object, right: object) -> NDArray[np.bool_]:
    both = _present(_text_or_nan(left)) & _present(_text_or_nan(right))
    if np.asarray(left).dtype.kind in "OUS":
        left, right = _as_text(left), _as_text(right)
    return np.asarray(compare(left, right), dtype=bool) & both


def _text_or_nan(values: object) -> Value:
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array
    return np.array(
        [item if isinstance(item, str) else np.nan for item in array.ravel()], dtype=object
    ).reshape(array.shape)


def _as_text(values: object) -> Value:
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array.astype(str)
    return np.array([item if isinstance(item, str) else "" for item in array.ravel()], dtype=str).reshape(
        array.shape
    )


def _is_in(values: Value, wanted: list[Value]) -> NDArray[np.bool_]:
    result = np.zeros(np.shape(values), dtype=bool)
    for item in wanted:
        if (np.asarray(values).dtype.kind in "OUS") == isinstance(item, str):
            result = result | _compared(operator.eq, values, item)
    return result
