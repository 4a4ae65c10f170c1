"""Bytecode of the Ethereum Virtual Machine, assembled by hand: a token and an exchange as yardsticks.

The token is ERC-20 as compilers lay it out: balances in slot keccak(account, 0), allowances in slot
keccak(spender, keccak(owner, 1)), events for transfers and approvals. The exchange trades coins against it
with the rule and the fee of `actors/contracts/examples/exchange.py`, its reserves in slots 0 and 1.

The assembler knows opcodes by name, numbers, which it pushes with as few bytes as they need, `name:` for a
place to jump to, and `@name`, which pushes that place.
"""

from __future__ import annotations

import re

OPCODES = {
    "STOP": 0x00, "ADD": 0x01, "MUL": 0x02, "SUB": 0x03, "DIV": 0x04, "LT": 0x10, "EQ": 0x14, "ISZERO": 0x15,
    "SHL": 0x1B, "SHR": 0x1C, "KECCAK256": 0x20, "ADDRESS": 0x30, "CALLER": 0x33, "CALLVALUE": 0x34,
    "CALLDATALOAD": 0x35, "CODECOPY": 0x39, "POP": 0x50, "MLOAD": 0x51, "MSTORE": 0x52, "SLOAD": 0x54,
    "SSTORE": 0x55, "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B, "DUP1": 0x80, "DUP2": 0x81,
    "DUP3": 0x82, "DUP5": 0x84, "SWAP1": 0x90, "LOG2": 0xA2, "LOG3": 0xA3, "CALL": 0xF1, "RETURN": 0xF3,
    "REVERT": 0xFD,
}  # fmt: skip
_PUSH0, _PUSH2 = 0x5F, 0x61

TRANSFER, TRANSFER_FROM, APPROVE, BALANCE_OF = 0xA9059CBB, 0x23B872DD, 0x095EA7B3, 0x70A08231
"""Selectors of ERC-20."""
BUY, SELL = 1, 2
"""Selectors of the exchange, which nobody else calls."""
_TRANSFERRED = 0xDDF252AD1BE2C89B69C2B068FC378DAA952BA7F163C4A11628F55A4DF523B3EF
_APPROVED = 0x8C5BE1E5EBEC7D5BD14F71427D1E84F3DD0314C0F7B2291E5B200AC8C7C3B925
_SWAPPED = 0x5A

_DISPATCH = "0 CALLDATALOAD 0xe0 SHR"
_FAIL = "fail: 0 0 REVERT"
_FAIL_IF_COINS = "CALLVALUE @fail JUMPI"
_KECCAK = "0x40 0 KECCAK256"

_TOKEN = f"""
{_DISPATCH}
DUP1 {TRANSFER} EQ @transfer JUMPI
DUP1 {TRANSFER_FROM} EQ @transfer_from JUMPI
DUP1 {APPROVE} EQ @approve JUMPI
{BALANCE_OF} EQ @balance_of JUMPI
{_FAIL}

transfer: POP {_FAIL_IF_COINS}
    @true CALLER 4 CALLDATALOAD 0x24 CALLDATALOAD @move JUMP

transfer_from: POP {_FAIL_IF_COINS}
    4 CALLDATALOAD 0 MSTORE 1 0x20 MSTORE {_KECCAK} 0x20 MSTORE CALLER 0 MSTORE {_KECCAK}
    DUP1 SLOAD 0x44 CALLDATALOAD
    DUP1 DUP3 LT @fail JUMPI
    SWAP1 SUB SWAP1 SSTORE
    @true 4 CALLDATALOAD 0x24 CALLDATALOAD 0x44 CALLDATALOAD @move JUMP

approve: POP {_FAIL_IF_COINS}
    CALLER 0 MSTORE 1 0x20 MSTORE {_KECCAK} 0x20 MSTORE 4 CALLDATALOAD 0 MSTORE {_KECCAK}
    0x24 CALLDATALOAD SWAP1 SSTORE
    0x24 CALLDATALOAD 0 MSTORE 4 CALLDATALOAD CALLER {_APPROVED} 0x20 0 LOG3
    @true JUMP

balance_of:
    4 CALLDATALOAD 0 MSTORE 0 0x20 MSTORE {_KECCAK} SLOAD 0 MSTORE 0x20 0 RETURN

move:
    DUP3 0 MSTORE 0 0x20 MSTORE {_KECCAK}
    DUP1 SLOAD DUP3 DUP2 LT @fail JUMPI
    DUP3 SWAP1 SUB SWAP1 SSTORE
    DUP2 0 MSTORE {_KECCAK}
    DUP1 SLOAD DUP3 ADD SWAP1 SSTORE
    0 MSTORE SWAP1 {_TRANSFERRED} 0x20 0 LOG3
    JUMP

true: 1 0 MSTORE 0x20 0 RETURN
"""

# What stands on the stack: the amount that comes in, times 997, then the reserve of what comes in and that of
# what goes out. It leaves the amount that goes out above them.
_AMOUNT_OUT = """
    DUP3 DUP2 MUL DUP3 1000 MUL DUP5 ADD SWAP1 DIV
    DUP1 ISZERO @fail JUMPI
"""
_MUST_BE_TRUE = "ISZERO @fail JUMPI 0 MLOAD ISZERO @fail JUMPI"
_TOLD = f"CALLER {_SWAPPED} 0x40 0 LOG2 0 MSTORE 0x20 0 RETURN"


def _exchange(token: int) -> str:
    return f"""
    {_DISPATCH}
    DUP1 {BUY} EQ @buy JUMPI
    DUP1 {SELL} EQ @sell JUMPI
    {_FAIL}

    buy: POP CALLVALUE ISZERO @fail JUMPI
        CALLVALUE 997 MUL 0 SLOAD 1 SLOAD
        {_AMOUNT_OUT}
        SWAP1 DUP2 SWAP1 SUB 1 SSTORE
        SWAP1 CALLVALUE ADD 0 SSTORE
        {TRANSFER} 0xe0 SHL 0 MSTORE CALLER 4 MSTORE DUP1 0x24 MSTORE
        0x20 0 0x44 0 0 {token} GAS CALL {_MUST_BE_TRUE}
        CALLVALUE 0 MSTORE DUP1 0x20 MSTORE {_TOLD}

    sell: POP {_FAIL_IF_COINS}
        4 CALLDATALOAD DUP1 ISZERO @fail JUMPI
        997 MUL 1 SLOAD 0 SLOAD
        {_AMOUNT_OUT}
        SWAP1 DUP2 SWAP1 SUB 0 SSTORE
        SWAP1 4 CALLDATALOAD ADD 1 SSTORE
        {TRANSFER_FROM} 0xe0 SHL 0 MSTORE CALLER 4 MSTORE ADDRESS 0x24 MSTORE 4 CALLDATALOAD 0x44 MSTORE
        0x20 0 0x64 0 0 {token} GAS CALL {_MUST_BE_TRUE}
        0 0 0 0 DUP5 CALLER GAS CALL ISZERO @fail JUMPI
        4 CALLDATALOAD 0 MSTORE DUP1 0x20 MSTORE {_TOLD}
    """


def assemble(text: str) -> bytes:
    """Bytecode. Raises ValueError for a word that means nothing."""
    code, places, wanted = bytearray(), dict[str, int](), dict[int, str]()
    for word in text.split():
        if word in OPCODES:
            code.append(OPCODES[word])
        elif word.endswith(":"):
            places[word[:-1]] = len(code)
            code.append(OPCODES["JUMPDEST"])
        elif word.startswith("@"):
            wanted[len(code) + 1] = word[1:]
            code += bytes((_PUSH2, 0, 0))
        elif re.fullmatch(r"\d+|0x[0-9a-f]+", word):
            number = int(word, 0)
            width = -(-number.bit_length() // 8)
            code += bytes((_PUSH0 + width,)) + number.to_bytes(width, "big")
        else:
            raise ValueError(f"{word} is no opcode, number or place")
    for at, name in wanted.items():
        if name not in places:
            raise ValueError(f"@{name} leads nowhere")
        code[at : at + 2] = places[name].to_bytes(2, "big")
    return bytes(code)


def token_creation(supply: int) -> bytes:
    """What deploys the token: whoever does it has all units."""
    return _creation(f"CALLER 0 MSTORE 0 0x20 MSTORE {supply} {_KECCAK} SSTORE", assemble(_TOKEN))


def exchange_creation(token: bytes, coins: int, tokens: int) -> bytes:
    """What deploys the exchange of a token at this address (20 bytes), with its reserves."""
    reserves = f"{coins} 0 SSTORE {tokens} 1 SSTORE"
    return _creation(reserves, assemble(_exchange(int.from_bytes(token, "big"))))


def _creation(first: str, code: bytes) -> bytes:
    """Code that does something first, and leaves `code` as the contract's."""
    size = len(code)
    head = b""
    for _ in range(3):  # the number of its own bytes stands in it
        head = assemble(f"{first} {size} {len(head)} 0 CODECOPY {size} 0 RETURN")
    return head + code


def call_data(selector: int, *words: int | bytes) -> bytes:
    """A selector and 32 bytes for each argument."""
    numbers = (int.from_bytes(word, "big") if isinstance(word, bytes) else word for word in words)
    return selector.to_bytes(4, "big") + b"".join(number.to_bytes(32, "big") for number in numbers)
