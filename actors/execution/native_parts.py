"""What the loop over rows is written of: ways that meet, and the accounts of a row's parties."""

from __future__ import annotations

from actors.contracts.native import table_code
from actors.contracts.native.code import Code, FieldRecord
from actors.contracts.native.layout import ACCOUNTS, BALANCE_AT
from actors.kernels.emitter import I64, Value


class Ways:
    """Ways that lead to one block, each with values of its own."""

    def __init__(self, code: Code, *kinds: object) -> None:
        self._code, self.block, self._kinds = code, code.block(), kinds
        self._ways: list[tuple[object, tuple[Value, ...]]] = []

    def go(self, *values: Value) -> None:
        """From here."""
        self._ways.append((self._code.builder.block, values))
        self._code.builder.branch(self.block)

    def go_if(self, condition: Value, *values: Value) -> None:
        """From here, which is not expected; else on."""
        go_on = self._code.block()
        self._ways.append((self._code.builder.block, values))
        self._code.branch_rarely(condition, self.block, go_on)
        self._code.go_on_at(go_on)

    def arrive(self) -> list[Value]:
        """Go on there: the values."""
        self._code.go_on_at(self.block)
        phis = [self._code.builder.phi(kind) for kind in self._kinds]
        for block, values in self._ways:
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, block)
        return list(phis)


class RowAccount:
    """One party of a row: its slot, and what it has before the row."""

    def __init__(self, code: Code, table: FieldRecord, slot: Value) -> None:
        self._code, self._table, self.slot = code, table, slot
        self.balance = self.balance_now()
        self.is_empty = code.is_zero(self.balance)

    def balance_now(self) -> Value:
        """What it has by now."""
        return self._code.load(I64, self._code.offset(self.slot, BALANCE_AT), 8)

    def set_balance(self, balance: Value) -> None:
        """It is changed, then."""
        code = self._code
        code.store(balance, code.offset(self.slot, BALANCE_AT), 8)
        table_code.mark_written(code, self._table, ACCOUNTS, self.slot)
