"""The command `contract events`: what a contract told, from a height on, and what it tells from now on."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated, cast

import typer
from rich.markup import escape

from actors.cli.contracts.arguments import Address, KeyNames, contract_key
from actors.cli.contracts.words import event_facts, options_again, shown_event
from actors.cli.options import DEFAULT_URL, GenesisFile, Json, KeysDir, Url, addresses, api_key, trusting
from actors.console import UserError, console, emit, explained
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.ledger.rows import FormatError
from actors.ledger.signing import KEY_BYTES
from actors.sdk.answers import ApiError
from actors.sdk.contract import Contract
from actors.sdk.contract_interface import ContractEvent
from actors.sdk.contract_results import read_followed
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.subscribe import Event, EventFilter, follow

app = typer.Typer()
EventName = Annotated[str | None, typer.Option("--event", help="Only those of this name.")]
First = Annotated[
    str | None, typer.Option("--first", help="With --event: only those whose first field has this value.")
]
FromHeight = Annotated[
    int | None,
    typer.Option("--from-height", min=1, help="Default: its deployment; with --follow: from now on."),
]


@app.command("events")
@explained(DirectoryError, FormatError, ApiError, ProofError, InterfaceError)
def events(
    address: Address,
    event: EventName = None,
    first: First = None,
    from_height: FromHeight = None,
    follow_on: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """List a contract's events, as the node tells them.

    A node tells those of the last 10,000 blocks; `complete` is false where older ones were asked for. With
    --follow there is a line for each, with --json an object.
    """
    with trusting(url, genesis_file) as (client, _):
        genesis = client.genesis()
        contract = client.contract(contract_key(address), genesis)
        names = KeyNames(keys_dir, genesis.network)
        chosen = _filter(contract, event, first, names)
    start = contract.interface.deployed_height if from_height is None and not follow_on else from_height
    stream = _Stream(contract, chosen, start, follow_on, as_json)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(stream.run(url, genesis.hash()))
    if not follow_on:
        stream.tell(options_again(url))


def _filter(contract: Contract, event: str | None, first: str | None, names: KeyNames) -> EventFilter:
    if first is None:
        return contract.event_filter(event)
    if event is None:
        raise UserError("--first: say with --event of which event it is a field")
    fields = contract.interface.verified.program.events[contract.interface.event_number(event)].fields
    value = names.value(fields[0].name, fields[0].shape, first) if fields else first
    return contract.event_filter(event, value)


@dataclass
class _Stream:
    """What is read of the stream of one contract's events."""

    contract: Contract
    chosen: EventFilter
    from_height: int | None
    goes_on: bool
    as_json: bool
    found: list[ContractEvent] = field(default_factory=list)
    to_height: int = 0
    complete: bool = True

    async def run(self, url: str, genesis: bytes) -> None:
        """Read all that there is, or without end.

        A stream says the state of a key that it watches once it has come to the present. So a key that nobody
        has marks that place.
        """
        mark = [] if self.goes_on else [secrets.token_bytes(KEY_BYTES)]
        stream = follow(
            addresses(url),
            False,
            keys=mark,
            from_height=self.from_height,
            api_key=api_key(),
            genesis=genesis,
            contracts=[self.chosen],
        )
        async with contextlib.aclosing(cast(AsyncGenerator[Event], stream)) as messages:
            async for message in messages:
                kind, height = message["type"], int(message["height"])
                self.to_height = max(self.to_height, height)
                if kind == "event":
                    self._take(read_followed(self.contract.interface, message))
                elif kind == "lagged":
                    self._lagged(int(message["from_height"]), int(message["to_height"]))
                elif kind == "state":
                    return

    def _take(self, event: ContractEvent) -> None:
        self.found.append(event)
        if not self.goes_on:
            return
        self.found.clear()
        if self.as_json:
            emit(event_facts(event), True)
        else:
            sys.stdout.write(_line(event) + "\n")
            sys.stdout.flush()

    def _lagged(self, first: int, last: int) -> None:
        self.complete = False
        console.print(
            f"[bold yellow]incomplete[/] events of the blocks {first} to {last} are not to be had here",
            soft_wrap=True,
        )
        if self.goes_on and self.as_json:
            emit({"lagged": True, "from_height": first, "to_height": last}, True)

    def tell(self, again: str) -> None:
        """All that was found."""
        if self.as_json:
            span = {"from_height": self.from_height, "to_height": self.to_height, "complete": self.complete}
            listed = [event_facts(event) for event in self.found]
            emit({"contract": self.contract.name, "address": self.contract.address.hex(), **span,
                  "count": len(listed), "events": listed}, True)  # fmt: skip
            return
        count = f"{len(self.found):,} event" + ("" if len(self.found) == 1 else "s")
        where = f"the blocks {self.from_height} to {self.to_height}"
        console.print(escape(f"{self.contract.name} told {count} in {where}."), soft_wrap=True)
        sys.stdout.writelines(_line(event) + "\n" for event in self.found)
        sys.stdout.flush()
        command = f"node.py contract events {self.contract.address.hex()} --follow{again}"
        console.print(f"Next: {escape(command)}", soft_wrap=True)


def _line(event: ContractEvent) -> str:
    return f"{event.height}  {shown_event(event)}"
