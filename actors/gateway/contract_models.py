"""What the JSON of contracts looks like: the body of a simulation, and answers as the OpenAPI document says.

Integers from 2^53 on, which JavaScript rounds, are decimal strings in these answers.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from actors.contracts.limits import ARGUMENTS_BYTES_MAX, FUNCTIONS_MAX, NAME_CHARS_MAX
from actors.gateway.model_types import U64, Hex32, InclusionOut, IntegerOut, U64Out

Values = Annotated[
    dict[str, Any],
    Field(description="by name: integers, strings of greater ones, booleans, hexadecimal, lists of those"),
]


def _read_function(value: Any) -> int | str:
    if isinstance(value, str) and len(value) <= NAME_CHARS_MAX:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < FUNCTIONS_MAX:
        return value
    raise ValueError(f"expected a name, or a number from 0 to {FUNCTIONS_MAX - 1}")


def _read_arguments(value: Any) -> dict[str, Any] | list[Any] | str:
    if not isinstance(value, dict | list | str):
        raise ValueError("expected an object by name, a list in order, or their bytes in hexadecimal digits")
    return value


FunctionIn = Annotated[
    int | str,
    BeforeValidator(_read_function),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": FUNCTIONS_MAX - 1},
                {"type": "string", "maxLength": NAME_CHARS_MAX},
            ],
            "description": "an entry or view, by number or name",
        }
    ),
]
ArgumentsIn = Annotated[
    dict[str, Any] | list[Any] | str,
    BeforeValidator(_read_arguments),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object"},
                {"type": "array", "items": {}},
                {"type": "string", "pattern": "^([0-9a-fA-F]{2})*$", "maxLength": 2 * ARGUMENTS_BYTES_MAX},
            ],
            "description": "by name, in order, or their bytes in hexadecimal digits",
        }
    ),
]


class SimulateIn(BaseModel):
    """A call that is only tried. Nobody has to sign it, and nothing is submitted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    function: FunctionIn
    arguments: ArgumentsIn = Field(default_factory=dict)
    sender: Hex32 | None = Field(
        None, description="who calls; its coins are checked unless this is a view. Absent: 32 zero bytes"
    )
    amount: U64 = Field(0, description="coins that go along")
    gas: U64 | None = Field(None, description="its limit; absent: as much as a block has")
    height: U64 | None = Field(None, description="a retained height; absent: the newest")


class TypedNameOut(BaseModel):
    """A result, a column or a field. type: as in the source, like `u64` or `Array[Address, 4]`."""

    name: str
    type: str


class ParamOut(BaseModel):
    """A parameter. max: its declared greatest value."""

    name: str
    type: str
    max: IntegerOut | None = None


class FunctionOut(BaseModel):
    """A function that may be called, or was called by the deployment (kind `init`).

    gas_max: the most it can use itself; what other contracts use comes on top, which it calls contract_calls
    times at most. static: which rows it touches follows from the transaction alone.
    """

    number: int
    name: str
    kind: str
    accepts_coins: bool
    params: list[ParamOut]
    results: list[TypedNameOut]
    gas_max: IntegerOut
    contract_calls: int
    static: bool


class TableOut(BaseModel):
    """A table; one without keys is a cell."""

    number: int
    name: str
    keys: list[str]
    columns: list[TypedNameOut]


class EventTypeOut(BaseModel):
    """An event that the contract may emit. Followers may ask for values of the first field."""

    number: int
    name: str
    fields: list[TypedNameOut]


class ImportOut(BaseModel):
    """A function of another contract that this one may call."""

    address: str
    contract: str
    function: str


class ContractOut(BaseModel):
    """A contract. program: the bytes of its program. height: of the state that the answer is of.

    deployer, nonce: of the transaction that made it, in the block at deployed_height.
    """

    address: str
    height: U64Out
    name: str
    program: str
    program_hash: str
    source_hash: str
    deployer: str
    deployed_height: U64Out
    nonce: U64Out
    functions: list[FunctionOut]
    tables: list[TableOut]
    events: list[EventTypeOut]
    imports: list[ImportOut]


class SourceOut(BaseModel):
    """The source that came with the deployment. transaction: its id; height: of its block."""

    address: str
    source: str
    transaction: str
    height: U64Out


class EntryOut(BaseModel):
    """An entry of the state in hexadecimal; value is empty where there is none."""

    key: str
    value: str


class TableRowOut(BaseModel):
    """A row at a height. exists: any of its entries is there; otherwise all columns are zero."""

    height: U64Out
    table: str
    keys: list[Any]
    exists: bool
    row: Values
    entries: list[EntryOut]


class EventOut(BaseModel):
    """An event of a receipt. data: its fields' bytes; name and fields where the program is known."""

    contract: str
    number: int
    data: str
    name: str | None = None
    fields: Values | None = None


class ProvenEventOut(BaseModel):
    """An event that a receipt's proof binds. data: its fields' bytes."""

    contract: str
    number: int
    data: str


class ProvenOutputOut(BaseModel):
    """What a deployment or a call left besides, as its receipt binds it."""

    gas: IntegerOut
    results: str
    events: list[ProvenEventOut]


class ReceiptProofOut(BaseModel):
    """RFC 9162 proof of a receipt under the receipts root of the header in `transaction`.

    receipt: status, fee and the balances of sender and recipient after it, little-endian, 8 bytes each.
    output: null where the kind leaves nothing besides. proof: sibling hashes from the receipt's leaf up.
    """

    id: str
    transaction: InclusionOut
    receipt: str
    output: ProvenOutputOut | None
    proof: list[str]


class SimulatedEventOut(BaseModel):
    """An event that a call would emit. bytes: of its fields."""

    contract: str
    name: str | None = None
    number: int
    fields: Values | None = None
    bytes: str


class ChangeOut(BaseModel):
    """An entry before and after, in hexadecimal; empty where there is none."""

    key: str
    before: str
    after: str


class SimulationOut(BaseModel):
    """What the call would do in the block after `height`. status: 0, or the number of its failure.

    gas: used. fee: that its transaction would have to offer, for exactly this. deposit: for the entries that
    it makes, less what comes back for those that it removes. changes: of entries. static: which rows it
    touches follows from the transaction alone.
    """

    height: U64Out
    status: int
    failure: str | None
    message: str
    gas: IntegerOut
    fee: IntegerOut
    deposit: IntegerOut
    entries_created: int
    entries_removed: int
    results: Values
    results_bytes: str
    events: list[SimulatedEventOut]
    changes: list[ChangeOut]
    static: bool


class EntryProofOut(BaseModel):
    """An entry of a contract in the state's tree; otherwise as the proof of an account.

    value: its bytes; null where there is no such entry.
    """

    key: str
    height: U64Out
    value: str | None
    siblings: list[str]
    leaf_path: str | None
    leaf_value_hash: str | None
    ics23: str
    header: str
    signature: str
    certificate: str
