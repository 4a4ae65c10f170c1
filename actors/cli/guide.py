"""The map of the command line: which group each command belongs to, and what it is called like.

`node.py --help` has the groups, `node.py COMMAND --help` the examples; a test parses them all.
"""

from __future__ import annotations

from collections.abc import Iterator

import typer
from typer.main import get_command_name
from typer.models import CommandInfo, TyperInfo

GROUPS = {
    "Network": ("up", "demo", "status", "top", "members", "logs", "doctor"),
    "Wallet": ("send", "balance", "pending", "cancel", "keys", "networks"),
    "Chain": ("block", "tx", "contract", "governed"),
    "Operate": ("scale", "check", "snapshot", "config"),
    "Prove": ("proof", "verify", "soak", "attack", "simulate", "torture", "fuzz"),
    "Measure": ("load", "bench", "report"),
}
BEGINNING = "Begin with `node.py demo`, then `node.py up` and, in another shell, `node.py status`."
EXAMPLES = {
    "up": ("up", "up --nodes 1 --data-dir data-one", "up --set gateway.port=9000 --set node.validators=4"),
    "demo": ("demo", "demo --nodes 1", "demo --kill leader"),
    "status": ("status", "status --verbose", "status --watch 1", "status --url http://127.0.0.1:8471"),
    "top": ("top", "top --url http://127.0.0.1:8470,http://127.0.0.1:8471", "top --looks 1"),
    "members": ("members", "members transfer node-2", "members remove node-3", "members add node-3"),
    "members add": ("members add node-3",),
    "members promote": ("members promote node-3",),
    "members remove": ("members remove node-3",),
    "members transfer": ("members transfer node-2",),
    "members readmit": ("members readmit node-2 --accept-risk",),
    "members repair-term": ("members repair-term --data-dir data --node node-2",),
    "logs": ("logs", "logs --level warning --since 10m", "logs --node node-1 --actor storage --follow"),
    "doctor": ("doctor", "doctor --nodes 1 --data-dir data-one"),
    "send": (
        "send 100 --from development:0 --to alice",
        "send 1 --from alice --to development:1 --count 1000",
        "send 5 --from alice --to development:1 --memo thanks --fee 3",
    ),
    "balance": ("balance alice", "balance development:0 --watch 1"),
    "pending": ("pending alice",),
    "cancel": ("cancel 7 --from alice",),
    "keys": ("keys new alice", "keys show"),
    "keys new": ("keys new alice",),
    "keys show": ("keys show", "keys show alice"),
    "networks": ("networks", "networks forget http://127.0.0.1:8470"),
    "networks forget": ("networks forget http://127.0.0.1:8470",),
    "block": ("block latest", "block 12 --limit 20"),
    "tx": ("tx ID", "tx ID --genesis data"),
    "contract": ("contract new counter", "contract check counter.py", "contract deploy counter.py"),
    "governed": ("governed make interest.py --treasury alice", "governed sign function.json --key bob"),
    "governed make": ("governed make interest.py --treasury alice --arguments 1000",),
    "governed sign": ("governed sign function.json --key bob",),
    "governed submit": ("governed submit function.json",),
    "governed refused": ("governed refused",),
    "scale": ("scale --validators 4",),
    "check": ("check --data-dir data --node node-1",),
    "snapshot": ("snapshot create --node node-1", "snapshot list --node node-1"),
    "snapshot create": ("snapshot create --node node-1",),
    "snapshot list": ("snapshot list --node node-1",),
    "snapshot export": ("snapshot export archive --node node-1",),
    "snapshot restore": ("snapshot restore archive --data-dir data-new --genesis data/genesis.json",),
    "config": ("config show", "config show --profile cluster --set node.validators=4"),
    "config show": ("config show", "config show --profile cluster --set node.validators=4"),
    "proof": (
        "proof --account alice --out alice.json",
        "proof --account development:0 --format ics23 --out account.ics23 --block-out block.bin",
        "proof --tx ID --out tx.json",
    ),
    "verify": (
        "verify --genesis data --proof alice.json",
        "verify --genesis data --block block.bin --proof account.ics23 --account development:0",
    ),
    "soak": ("soak --minutes 3 --nodes 3 --report soak.html", "soak --faults none --seed 7"),
    "attack": ("attack --list", "attack --only idle-connections"),
    "simulate": ("simulate raft --seeds 5000", "simulate peers --nodes 10000"),
    "torture": ("torture storage --rounds 50", "torture validators --seconds 30"),
    "fuzz": ("fuzz signatures --minutes 5", "fuzz blocks --blocks 1000"),
    "load": ("load --ramp 10 --hold 20 --rate auto", "load --endpoint http://127.0.0.1:8470 --rate 500"),
    "bench": ("bench signatures", "bench report"),
    "report": ("report compare before.json after.json",),
}


def arrange(app: typer.Typer) -> typer.Typer:
    """Put every command into its group, in the order above, with its examples; the same `app`.

    Raises KeyError for a command that is in no group, or a group's command that is not there.
    """
    commands, groups = dict(_commands(app)), dict(_groups(app))
    missing = set(commands) ^ set(groups) ^ {name for names in GROUPS.values() for name in names}
    if missing:
        raise KeyError(f"not both in a group and a command: {', '.join(sorted(missing))}")
    app.registered_commands, app.registered_groups = [], []
    for panel, names in GROUPS.items():
        for name in names:
            info = commands.get(name) or groups[name]
            info.rich_help_panel = panel
            if isinstance(info, CommandInfo):
                app.registered_commands.append(info)
            else:
                app.registered_groups.append(info)
                _give_examples(name, info)
            info.epilog = _examples(name) or info.epilog
    app.info.epilog = BEGINNING
    return app


def _commands(app: typer.Typer) -> Iterator[tuple[str, CommandInfo]]:
    """Commands of `app` and of those that were added to it without a name."""
    for info in app.registered_commands:
        yield _name_of(info), info
    for group in app.registered_groups:
        if group.typer_instance is not None and not isinstance(group.name, str):
            yield from _commands(group.typer_instance)


def _groups(app: typer.Typer) -> Iterator[tuple[str, TyperInfo]]:
    for group in app.registered_groups:
        if isinstance(group.name, str):
            yield group.name, group
        elif group.typer_instance is not None:
            yield from _groups(group.typer_instance)


def _name_of(info: CommandInfo) -> str:
    return info.name or get_command_name(getattr(info.callback, "__name__", ""))


def _give_examples(name: str, group: TyperInfo) -> None:
    for info in group.typer_instance.registered_commands if group.typer_instance else ():
        info.epilog = _examples(f"{name} {_name_of(info)}") or info.epilog


def _examples(name: str) -> str:
    lines = (f"- `node.py {example}`" for example in EXAMPLES.get(name, ()))
    return "\n\n".join(["For example", *lines]) if name in EXAMPLES else ""
