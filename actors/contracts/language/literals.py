"""Values that are known from the source alone: `u64(5)`, `Address("hex")`, `Bytes[4](b"abcd")`, `True`."""

from __future__ import annotations

import ast
import re

from actors.contracts.language.annotations import read_kind
from actors.contracts.language.faults import FaultError
from actors.contracts.language.module import Module
from actors.contracts.language.values import Bare, KnownValue, constant, fit
from actors.contracts.types import BOOL, Type

HEX = re.compile(r"[0-9a-fA-F]*")


def read_number(node: ast.expr) -> Bare | None:
    """A number in figures, with or without a minus."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Bare(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = node.operand
        if isinstance(inner, ast.Constant) and type(inner.value) is int:
            return Bare(-inner.value)
    return None


def read_bytes(node: ast.expr, kind: Type) -> bytes | None:
    """The bytes of a literal in the parentheses of a type of bytes; None if it is no literal of bytes."""
    if not isinstance(node, ast.Constant):
        return None
    value = node.value
    if isinstance(value, str):
        if len(value) != 2 * kind.width_bytes or not HEX.fullmatch(value):
            raise FaultError(node, f"not the hex of {kind}", f"write {2 * kind.width_bytes} hex digits")
        return bytes.fromhex(value)
    if isinstance(value, bytes):
        if len(value) != kind.width_bytes:
            raise FaultError(node, f"{len(value)} bytes for {kind}", f"write {kind.width_bytes} bytes")
        return value
    return None


def read_address(node: ast.expr) -> bytes:
    """The address of an interface."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        raise FaultError(node, "not an address", "write its 64 hex digits in quotes")
    if len(node.value) != 64 or not HEX.fullmatch(node.value):
        raise FaultError(node, "not the hex of an address", "write 64 hex digits")
    return bytes.fromhex(node.value)


def read_constant(module: Module, node: ast.expr) -> KnownValue:
    """The value of a module's constant."""
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return KnownValue(BOOL, node.value)
    if bare := read_number(node):
        raise FaultError(node, "a number without a type", f"write u64({bare}), or another integer type")
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        kind = read_kind(module, node.func)
        argument = node.args[0]
        if isinstance(kind, Type) and kind.is_bytes and (data := read_bytes(argument, kind)) is not None:
            return KnownValue(kind, data)
        if isinstance(kind, Type) and kind.is_integer and (number := read_number(argument)):
            value = constant(fit(number, kind, argument))
            assert value is not None
            return value
    raise FaultError(node, "a constant that is computed", 'write a literal, such as u64(5) or Address("...")')
