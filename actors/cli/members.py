"""Commands of membership: `members` lists, its subcommands change. Import no Ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from actors.cli.options import (
    DEFAULT_URL,
    Json,
    Url,
    Verbose,
    member_names,
    opened,
    unknown_if_unanswered,
)
from actors.cli.summaries import changed, members_of
from actors.console import Summary, emit, explained
from actors.sdk.answers import ApiError

app = typer.Typer(help="Members of the network; without a subcommand, lists them.")


@app.callback(invoke_without_command=True)
@explained(ApiError)
def members_list(
    context: typer.Context, url: Url = DEFAULT_URL, verbose: Verbose = False, as_json: Json = False
) -> None:
    """List the members: who votes, who leads, who is away, how far each has come, and where it is."""
    if context.invoked_subcommand is None:
        with opened(url) as client:
            answer = client.members()

            def summary() -> Summary:
                status, actors = client.status(), client.actors()["actors"]
                address = str((actors.get("peer") or {}).get("address") or "-")
                return members_of(answer, status, address, int((status.get("head") or {}).get("height", 0)))

            emit(answer, as_json, summary=summary, verbose=verbose)


def _change(action: str) -> Callable[..., None]:
    def command(
        name: Annotated[str, typer.Argument(help="The member's name in the genesis, or its identity.")],
        url: Url = DEFAULT_URL,
        as_json: Json = False,
    ) -> None:
        with opened(url) as client:
            with unknown_if_unanswered("node.py members"):
                answer = client.change_member(action, name)
            emit(answer, as_json, summary=lambda: changed(action, answer, member_names(client)))

    return command


for _action, _text in (
    ("add", "Let a member of the genesis take part again, as a learner at first."),
    ("promote", "Make a learner that has caught up a voter."),
    ("remove", "Take a member out; a majority of the genesis must go on voting."),
    ("transfer", "Hand leadership over to a member."),
):
    app.command(_action, help=_text)(explained(ApiError)(_change(_action)))


@app.command("readmit")
@explained(ApiError)
def readmit(
    name: Annotated[str, typer.Argument(help="The member's name in the genesis, or its identity.")],
    url: Url = DEFAULT_URL,
    accept_risk: Annotated[bool, typer.Option("--accept-risk", help="Needed, once you know why.")] = False,
    as_json: Json = False,
) -> None:
    """Have one member count another that has lost its disk, where no majority is left to do so by itself.

    A network takes a member with a new disk back by itself as long as a majority still has its own. Two
    members of which one lost its disk cannot: run this at every member that runs, the emptied one included,
    after you made sure that the longest chain is among those that kept theirs. What only the lost disk held,
    or what it signed together with a member that is away now, may be replaced by other blocks.
    """
    with opened(url) as client:
        with unknown_if_unanswered("node.py members"):
            answer = client.change_member("readmit", name, accept_risk=accept_risk)
        emit(answer, as_json, summary=lambda: changed("readmit", answer, member_names(client)))
