"""Operators: one integer type on both sides, folded where both are known, else an operation."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

from actors.contracts.ir import Arithmetic, Binary, Compare, Comparison, If, Not, Shape
from actors.contracts.language.body import Body
from actors.contracts.language.faults import FaultError, SourcePlace
from actors.contracts.language.kinds import ArrayOf
from actors.contracts.language.values import Bare, KnownValue, Operand, Value, constant, fit, known, typed
from actors.contracts.types import BOOL, I64, UNSIGNED, Type

ARITHMETIC: dict[type[ast.operator], Arithmetic] = {
    ast.Add: Arithmetic.ADD,
    ast.Sub: Arithmetic.SUB,
    ast.Mult: Arithmetic.MUL,
    ast.FloorDiv: Arithmetic.FLOOR_DIV,
    ast.Mod: Arithmetic.MOD,
    ast.BitAnd: Arithmetic.AND,
    ast.BitOr: Arithmetic.OR,
    ast.BitXor: Arithmetic.XOR,
    ast.LShift: Arithmetic.SHL,
    ast.RShift: Arithmetic.SHR,
}
OF_BITS = (Arithmetic.AND, Arithmetic.OR, Arithmetic.XOR, Arithmetic.SHL, Arithmetic.SHR)
SIGNS = {
    Arithmetic.ADD: "+", Arithmetic.SUB: "-", Arithmetic.MUL: "*", Arithmetic.FLOOR_DIV: "//",
    Arithmetic.MOD: "%", Arithmetic.AND: "&", Arithmetic.OR: "|", Arithmetic.XOR: "^",
    Arithmetic.SHL: "<<", Arithmetic.SHR: ">>", Arithmetic.MIN: "min", Arithmetic.MAX: "max",
}  # fmt: skip
PLAIN: dict[Arithmetic, Callable[[int, int], int]] = {
    Arithmetic.ADD: operator.add,
    Arithmetic.SUB: operator.sub,
    Arithmetic.MUL: operator.mul,
    Arithmetic.FLOOR_DIV: operator.floordiv,
    Arithmetic.MOD: operator.mod,
    Arithmetic.AND: operator.and_,
    Arithmetic.OR: operator.or_,
    Arithmetic.XOR: operator.xor,
    Arithmetic.MIN: min,
    Arithmetic.MAX: max,
}
COMPARISONS: dict[type[ast.cmpop], tuple[Comparison, bool]] = {  # and whether the sides change places
    ast.Eq: (Comparison.EQ, False),
    ast.NotEq: (Comparison.NE, False),
    ast.Lt: (Comparison.LT, False),
    ast.LtE: (Comparison.LE, False),
    ast.Gt: (Comparison.LT, True),
    ast.GtE: (Comparison.LE, True),
}
INSTEAD_OF_OPERATOR = {
    "Div": ("the operator /", "write //, which rounds down"),
    "Pow": ("the operator **", "write the product, or a loop"),
    "MatMult": ("the operator @", "write the sums and products"),
    "Is": ("is", "write =="),
    "IsNot": ("is not", "write !="),
    "In": ("in", "keep a Table[K, bool] and read it"),
    "NotIn": ("not in", "keep a Table[K, bool] and read it"),
    "Invert": ("the operator ~", "write x ^ mask, with a constant of the type"),
    "UAdd": ("a sign +", "leave it out"),
}


def arithmetic_of(node: ast.operator, place: SourcePlace) -> Arithmetic:
    """The operation of an operator. Raises FaultError."""
    if type(node) not in ARITHMETIC:
        raise FaultError(place, *INSTEAD_OF_OPERATOR[type(node).__name__])
    return ARITHMETIC[type(node)]


def binary(body: Body, node: ast.BinOp) -> Operand:
    """`a ? b`."""
    what = arithmetic_of(node.op, node)
    left = body.evaluate(body, node.left)
    right = body.evaluate(body, node.right)
    return combine(body, what, left, right, node)


def combine(body: Body, what: Arithmetic, left: Value, right: Value, place: SourcePlace) -> Operand:
    """Two values of one integer type, computed now if both are known."""
    a, b = unify(left, right, place)
    kind = a.kind
    if not (isinstance(kind, Type) and kind.is_integer):
        raise FaultError(place, f"{SIGNS[what]} on {kind}", _instead_on(what, a))
    if what in OF_BITS and kind.code not in UNSIGNED:
        raise FaultError(place, f"{SIGNS[what]} on {kind}", "convert to an unsigned type first, such as u64")
    known_a, known_b = constant(a), constant(b)
    if known_a is not None and known_b is not None:
        return known(kind, _fold(what, known_a, known_b, place))
    dst = body.temporary(Shape(kind), place)
    (left_register,), (right_register,) = body.registers(a, place), body.registers(b, place)
    body.builder.emit(Binary(what, dst, left_register, right_register), place)
    return Operand(kind, (dst,))


def _instead_on(what: Arithmetic, operand: Operand) -> str:
    if operand.kind == BOOL:
        words = {Arithmetic.AND: "write and", Arithmetic.OR: "write or", Arithmetic.XOR: "write !="}
        return words.get(what, "use integers; a bool is not one")
    return "use integers of one type"


def _fold(what: Arithmetic, a: KnownValue, b: KnownValue, place: SourcePlace) -> int:
    x, y = int(a.value), int(b.value)
    if y == 0 and what in (Arithmetic.FLOOR_DIV, Arithmetic.MOD):
        raise FaultError(place, "a division by zero", "use another number")
    low, high = a.type.range
    if what in (Arithmetic.SHL, Arithmetic.SHR):
        bits = 8 * a.type.width_bytes
        result = x >> min(y, bits) if what is Arithmetic.SHR else x << min(y, bits)
    else:
        result = PLAIN[what](x, y)
    if not low <= result <= high:
        raise FaultError(place, f"the result never fits {a.type}", "use a wider type, or other numbers")
    return result


def unify(left: Value, right: Value, place: SourcePlace) -> tuple[Operand, Operand]:
    """Two values of one type: a bare number takes the type of the other."""
    if isinstance(left, Bare) and isinstance(right, Bare):
        raise FaultError(place, "two numbers without a type", f"write u64({left}), or the result in figures")
    if isinstance(left, Bare):
        b = typed(right, place)
        return fit(left, b.kind, place), b
    a = typed(left, place)
    return a, fit(right, a.kind, place)


def unary(body: Body, node: ast.UnaryOp) -> Value:
    """`-x` and `not x`."""
    if isinstance(node.op, ast.Not):
        operand = body.value_of(node.operand, BOOL)
        if (value := constant(operand)) is not None:
            return known(BOOL, not value.value)
        dst = body.temporary(Shape(BOOL), node)
        body.builder.emit(Not(dst, body.registers(operand, node)[0]), node)
        return Operand(BOOL, (dst,))
    if not isinstance(node.op, ast.USub):
        raise FaultError(node, *INSTEAD_OF_OPERATOR[type(node.op).__name__])
    number = body.evaluate(body, node.operand)
    if isinstance(number, Bare):
        return Bare(-number.number)
    operand = typed(number, node)
    if operand.kind != I64:
        raise FaultError(node, f"a minus on {operand.kind}", "use i64, which alone has values below zero")
    return combine(body, Arithmetic.SUB, Bare(0), operand, node)


def comparison(body: Body, node: ast.Compare) -> Operand:
    """`a < b`, and `a < b < c`: what stands between is evaluated once, and nothing after what is false."""
    left = body.evaluate(body, node.left)
    right = body.evaluate(body, node.comparators[0])
    first = compare(body, node.ops[0], left, right, node)
    if len(node.ops) == 1:
        return first
    dst = body.temporary(Shape(BOOL), node)
    body.builder.assign((dst,), first.parts, node)
    for op, comparator in zip(node.ops[1:], node.comparators[1:], strict=True):
        left = right
        with body.builder.nested(node) as inner:
            right = body.evaluate(body, comparator)
            body.builder.assign((dst,), compare(body, op, left, right, node).parts, node)
        body.builder.emit(If(dst, ()), node, inner, ())
    return Operand(BOOL, (dst,))


def compare(body: Body, op: ast.cmpop, left: Value, right: Value, place: SourcePlace) -> Operand:
    """One comparison of two values of one scalar type."""
    if type(op) not in COMPARISONS:
        raise FaultError(place, *INSTEAD_OF_OPERATOR[type(op).__name__])
    what, swapped = COMPARISONS[type(op)]
    a, b = unify(left, right, place)
    if not isinstance(a.kind, Type):
        raise FaultError(place, f"a comparison of {a.kind}", "compare the fields or elements one by one")
    if a.kind == BOOL and what not in (Comparison.EQ, Comparison.NE):
        raise FaultError(place, "an order of bools", "write == or !=, or and, or, not")
    if swapped:
        a, b = b, a
    known_a, known_b = constant(a), constant(b)
    if known_a is not None and known_b is not None:
        return known(BOOL, _fold_comparison(what, known_a.value, known_b.value))
    dst = body.temporary(Shape(BOOL), place)
    (left_register,), (right_register,) = body.registers(a, place), body.registers(b, place)
    body.builder.emit(Compare(what, dst, left_register, right_register), place)
    return Operand(BOOL, (dst,))


def _fold_comparison(what: Comparison, a: object, b: object) -> bool:
    if what is Comparison.EQ:
        return a == b
    if what is Comparison.NE:
        return a != b
    less = a < b  # type: ignore[operator]  # two values of one type; bytes are ordered as big-endian numbers
    return bool(less or (what is Comparison.LE and a == b))


def short_circuit(body: Body, node: ast.BoolOp) -> Operand:
    """`and` and `or` of bools: what does not decide is not evaluated."""
    dst = body.temporary(Shape(BOOL), node)
    body.builder.assign((dst,), body.value_of(node.values[0], BOOL).parts, node)
    for value in node.values[1:]:
        with body.builder.nested(node) as inner:
            body.builder.assign((dst,), body.value_of(value, BOOL).parts, node)
        branches = (inner, ()) if isinstance(node.op, ast.And) else ((), inner)
        body.builder.emit(If(dst, ()), node, *branches)
    return Operand(BOOL, (dst,))


def conditional(body: Body, node: ast.IfExp) -> Operand:
    """`a if condition else b`."""
    condition = body.condition(node.test)
    with body.builder.nested(node) as then:
        first = body.value(node.body)
        if isinstance(first.kind, ArrayOf):
            raise FaultError(
                node, "an array in a conditional expression", "write an if statement, and copy()"
            )
        dsts = body.temporaries(first.kind, node)
        body.builder.assign(dsts, first.parts, node)
    with body.builder.nested(node) as otherwise:
        second = fit(body.value(node.orelse), first.kind, node.orelse)
        body.builder.assign(dsts, second.parts, node)
    body.builder.emit(If(condition, ()), node, then, otherwise)
    return Operand(first.kind, dsts)
