"""require, emit and send: calls that are statements of their own."""

from __future__ import annotations

import ast

from actors.contracts.ir import Emit, Require, Send
from actors.contracts.language.binding import check_operands, fields_of
from actors.contracts.language.body import Body
from actors.contracts.language.calls import STATEMENTS, call
from actors.contracts.language.faults import FaultError
from actors.contracts.limits import MESSAGE_BYTES_MAX, MESSAGES_MAX
from actors.contracts.types import ADDRESS, BOOL, U64


def expression_statement(body: Body, node: ast.Expr) -> None:
    """A call that stands alone. Any other expression has no effect and is refused."""
    value = node.value
    if not isinstance(value, ast.Call):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            raise FaultError(node, "a string that stands alone", "write a comment, with #")
        if isinstance(value, ast.Constant) and value.value is Ellipsis:
            raise FaultError(node, "a body that is left out", "write pass, or the body")
        if isinstance(value, (ast.Await, ast.Yield, ast.YieldFrom)):
            body.evaluate(body, value)
        raise FaultError(node, "a value that nobody uses", "assign it, or remove it")
    function = value.func
    if isinstance(function, ast.Name) and function.id in STATEMENTS:
        body.module.need(function.id, value)
        {"require": _require, "emit": _emit, "send": _send}[function.id](body, value)
    elif isinstance(function, ast.Attribute) and function.attr not in ("copy", "replace"):
        call(body, value)
    else:
        call(body, value)
        raise FaultError(node, "a value that nobody uses", "assign it, or remove it")


def message_of(node: ast.AST) -> str | None:
    """The message of `require(condition, "message")`; None for what is not that."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require"):
        return None
    if len(node.args) != 2 or node.keywords:
        return None
    message = node.args[1]
    return message.value if isinstance(message, ast.Constant) and isinstance(message.value, str) else None


def _require(body: Body, node: ast.Call) -> None:
    message = message_of(node)
    if message is None:
        raise FaultError(
            node, "the arguments of require", 'write require(condition, "message"), the text in quotes'
        )
    try:
        size_bytes = len(message.encode())
    except UnicodeEncodeError:
        raise FaultError(node.args[1], "half a surrogate pair", "write the character itself") from None
    if not 1 <= size_bytes <= MESSAGE_BYTES_MAX:
        advice = f"write 1 to {MESSAGE_BYTES_MAX} bytes"
        raise FaultError(node.args[1], f"a message of {size_bytes} bytes", advice)
    number = body.messages[message]
    if number >= MESSAGES_MAX:
        raise FaultError(node.args[1], f"more than {MESSAGES_MAX} messages", "use one in several places")
    condition = body.registers(body.value_of(node.args[0], BOOL), node)[0]
    body.builder.emit(Require(condition, number), node)


def _emit(body: Body, node: ast.Call) -> None:
    event = node.args[0] if len(node.args) == 1 and not node.keywords else None
    if not (isinstance(event, ast.Call) and isinstance(event.func, ast.Name)):
        raise FaultError(
            node, "the arguments of emit", "write emit(Name(field=...)), with an event of the module"
        )
    name = event.func.id
    if name not in body.module.events:
        if name in body.module.declared and name not in body.module.structs:
            raise body.module.unknown(name, event)
        raise FaultError(
            event, f"{name[:48]} is no event", "declare it: class Name(Event), above the contract"
        )
    declared = body.module.events[name]
    body.does("emits an event", node)
    parts = fields_of(body, event, declared.fields)
    check_operands(len(parts), node)
    srcs = tuple(body.builder.register(part, node) for part in parts)
    body.builder.emit(Emit(declared.number, srcs), node)


def _send(body: Body, node: ast.Call) -> None:
    if len(node.args) != 2 or node.keywords:
        raise FaultError(node, "the arguments of send", "write send(to, amount)")
    body.does("sends coins", node)
    to = body.value_of(node.args[0], ADDRESS)
    amount = body.value_of(node.args[1], U64)
    (to_register,), (amount_register,) = body.registers(to, node), body.registers(amount, node)
    body.builder.emit(Send(to_register, amount_register), node)
