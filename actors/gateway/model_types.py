"""Numbers and bytes as the JSON of the API has them: types of fields that several models share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, WithJsonSchema

from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX

U64_MAX = 2**64 - 1
_U64_TEXT = "an integer from 0 to 2^64-1, as a JSON integer or a decimal string"


def _read_u64(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U64_MAX:
        raise ValueError(f"expected {_U64_TEXT}")
    return value


U64 = Annotated[
    int,
    BeforeValidator(_read_u64),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": U64_MAX},
                {"type": "string", "pattern": "^[0-9]{1,20}$"},
            ],
            "description": f"{_U64_TEXT}; JavaScript reads integers exactly to 2^53-1 only",
        }
    ),
]
U64Out = Annotated[int, Field(ge=0, le=U64_MAX, json_schema_extra={"format": "uint64"})]
BlockTimeOut = Annotated[
    U64Out,
    Field(
        description="Milliseconds since 1970, as the block's proposer took the time: never before the "
        "parent's, and when it was voted for at most consensus.clock_ahead_ms_max ahead of the clocks of a "
        "majority. It does not say how long ago the block was made."
    ),
]
Hex32 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$")]
Hex64 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{128}$")]
HexPayload = Annotated[
    str, StringConstraints(pattern="^([0-9a-fA-F]{2})*$", max_length=2 * ROW_PAYLOAD_BYTES_MAX)
]
IntegerOut = Annotated[
    int | str, Field(description="an integer; from 2^53 on, and down from -2^53, a string of its digits")
]


class InclusionOut(BaseModel):
    """RFC 9162 inclusion proof, with the signed header and the certificate that make the block final."""

    height: U64Out
    index: int
    size: int
    leaf: str
    proof: list[str]
    header: str
    signature: str
    certificate: str
