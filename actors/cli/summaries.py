"""What commands of a running network say to people: answers of the API in, summaries out. Looks at no clock.

names: what keys are called, by their hexadecimal: members, keys of this wallet, development accounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.console import Standing, Summary
from actors.figures import ago, counted, figure, moment, short, size, span
from actors.ledger.verdict import Verdict

Answer = Mapping[str, Any]
Names = Mapping[str, str]
CHECKED = ("height", "executed", "transactions", "accounts", "contracts", "value_bytes", "state_root")
_CHANGES = {
    "add": "takes part again, as a learner",
    "promote": "votes",
    "remove": "takes no part any more",
    "transfer": "is to lead",
    "readmit": "is counted again",
}
CONNECTED = ("active", "idle")
DISKS = {
    "changed": "speaks from a new disk, and has no vote with it",
    "awaited": "has a new disk, and votes again when it has caught up",
}


def named(key: str, names: Names) -> str:
    """A key's name, or its first digits."""
    return names.get(key) or short(key)


def status_of(told: Answer, actors: Answer, names: Names, now_ms: int) -> Summary:
    """told: of `Client.status`, peers apart. actors: health of each actor by name, None where it is away."""
    node, gateway, head = told["node"], told["gateway"], told.get("head") or {}
    name, height = named(node.get("identity", ""), names) or "this node", int(head.get("height", 0))
    away = sorted([*(each for each, health in actors.items() if health is None), *_away(node)])
    reasons = list(gateway.get("unready_reasons") or ())
    last = f"at height {height:,}"
    if height:
        last += f", whose block is {span(max(now_ms - int(head['time_ms']), 0) // 1_000)} old"
    if reasons or not gateway.get("ready", True):
        standing: Standing = "bad"
        sentence = f"{name} is not ready: {'; '.join(reasons) or 'it says no reason'}."
    elif away:
        standing, sentence = (
            "warn",
            f"{name} works, but without {', '.join(away)}, until Ray has it back.",
        )
    else:
        standing, sentence = "good", f"{name} is healthy: it {_part(node, names)}, {last}."
    others = [peer for peer in told.get("peers", ()) if peer.get("member")]
    connected = sum(peer["state"] in CONNECTED for peer in others)
    facts = [
        ("network", f"{told['network']}, chain id {short(told['chain_id'])}"),
        ("transactions", f"{node.get('transactions', 0):,} since its start, {pending_in(actors):,} pending"),
        ("others", f"{connected} of {counted(len(others), 'member')} connected" if others else "none"),
        ("processing", _processing(node)),
    ]
    facts += [("clock", str(node["clock"]))] if node.get("clock") else []
    rows = [
        (
            named(peer["identity"], names),
            peer["state"],
            figure("rtt_ms", peer.get("rtt_ms")),
            "-" if peer.get("last_seen_s") is None else f"{span(peer['last_seen_s'])} ago",
            peer["address"],
        )
        for peer in told.get("peers", ())
    ]
    following = ["node.py top", "node.py members", "node.py status --verbose"]
    if standing == "bad":
        following = ["node.py doctor", "node.py members", "node.py status --verbose"]
    titles = ("other node", "state", "round trip", "last heard", "address")
    return Summary(sentence, standing, facts=facts, titles=titles, rows=rows, following=following)


def _part(node: Answer, names: Names) -> str:
    """What a node does in its network."""
    role, leader = node.get("role"), str(node.get("leader") or "")
    if role == "leader":
        return "leads"
    if role == "observer":
        return "observes"
    return f"follows {named(leader, names)}" if leader else f"is {role}"


def _away(node: Answer) -> list[str]:
    """Validators that do not answer."""
    pool = node.get("validator_pool") or {}
    return [f"{counted(pool['validators_away'], 'Validator')}"] if pool.get("validators_away") else []


def _processing(node: Answer) -> str:
    stages = dict(node.get("stages_us_per_tx") or {})
    words = counted(int(node.get("validators", 0)), "Validator")
    if not stages:
        return words
    slowest = max(stages, key=lambda stage: stages[stage])
    return f"{words}; the slowest stage is {slowest}, {span(stages[slowest] / 1e6)} a transaction"


def pending_in(actors: Answer) -> int:
    """Transactions that the mempool's shards hold."""
    shards = (health for name, health in actors.items() if name.startswith("mempool"))
    return sum(int((health or {}).get("depth", 0)) for health in shards)


def members_of(answer: Answer, status: Answer, own_address: str, height: int) -> Summary:
    """answer: of `Client.members`. status: of `Client.status` of the same node, which is at `height`."""
    node = status["node"]
    peers = {peer["identity"]: peer for peer in node.get("peers", ())}
    rows: list[tuple[str, ...]] = []
    here, away, leader = 0, [], ""
    for row in answer["members"]:
        me, peer = row["identity"] == node.get("identity"), peers.get(row["identity"], {})
        there = me or peer.get("state") in CONNECTED
        takes_part = row["role"] != "out"
        here += there and row["role"] == "voter"
        away += [row["name"]] if takes_part and not there else []
        leader = row["name"] if row["leader"] else leader
        state = "leads" if row["leader"] else "connected" if there else "away" if takes_part else "-"
        address = own_address if me else peer.get("address") or row["address"] or "-"
        name = f"{row['name']} (asked)" if me else row["name"]
        rows.append((name, row["role"], state, _lag(row, me, there), address, DISKS.get(row["disk"], "")))
    majority, total = int(answer["majority"]), len(answer["members"])
    standing: Standing = "bad" if here < majority or not leader else "warn" if away else "good"
    sentence = f"{here} of {counted(total, 'member')} vote and can be reached, {leader or 'nobody'} leads"
    if here < majority:
        sentence += f"; {majority} are needed, so no block is made"
    elif away:
        sentence += f"; {', '.join(away)} {'is' if len(away) == 1 else 'are'} away"
    facts = [
        ("majority", f"{majority} votes make a block final"),
        ("height", f"{height:,} at the member asked"),
    ]
    titles = ["member", "role", "state", "lag", "address", "disk"]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    follower = next((row["name"] for row in answer["members"] if not row["leader"]), "")
    following = (
        [f"node.py members transfer {follower}"] if follower and standing == "good" else ["node.py status"]
    )
    return Summary(f"{sentence}.", standing, facts=facts, titles=titles, rows=rows, following=following)


def _lag(row: Answer, me: bool, there: bool) -> str:
    """How far behind the leader it is, in entries of the log, which are blocks for the most part."""
    if row.get("behind") is not None:
        lag = int(row["behind"])
        return counted(lag, "block") if lag else "none" if there else "-"
    return "none" if row["leader"] or me else "-"


def account_of(found: Answer, who: str) -> Summary:
    """found: of `Client.account`; who: as the user named it."""
    balance, height = int(found["balance"]), int(found["height"])
    facts = [("key", str(found["key"])), ("next nonce", f"{int(found['nonce']):,}")]
    if not balance:
        sentence = f"{who} has nothing: no such account at height {height:,}."
        return Summary(sentence, facts=facts, following=[f"node.py send 100 --from development:0 --to {who}"])
    return Summary(
        f"{who} has {balance:,}, at height {height:,}, as this node says.",
        facts=facts,
        following=[f"node.py proof --account {who} --out proof.json  has it proven"],
    )


def pending_of(found: Answer, who: str) -> Summary:
    """found: of `Client.pending`."""
    rows = [
        (str(row["nonce"]), row["state"], f"{row['amount']:,}", str(row["fee"]), short(row["id"]))
        for row in found["transactions"]
    ]
    count = counted(len(rows), "transaction") if rows else "no transaction"
    parked = sum(row["state"] == "parked" for row in found["transactions"])
    sentence = f"{who} has {count} pending at this node"
    if parked:
        sentence += f"; {parked} wait for nonce {found['next_nonce']:,}, which is missing"
    facts = [] if rows else [("next nonce", f"{found['next_nonce']:,}")]
    following = [f"node.py cancel {rows[0][0]} --from {who}"] if rows else []
    titles = ("nonce", "state", "amount", "fee", "id")
    standing: Standing = "warn" if parked else ""
    return Summary(f"{sentence}.", standing, facts=facts, titles=titles, rows=rows, following=following)


def block_of(found: Answer, names: Names, now_ms: int) -> Summary:
    """found: of `Client.block`."""
    header = found["header"]
    height, total = int(header["height"]), int(header["transaction_count"])
    rows = [
        (short(row["id"]), row["kind_name"], named(row["sender"], names), named(row["recipient"], names),
         f"{row['amount']:,}", f"{row['fee']:,}")
        for row in found["transactions"]
    ]  # fmt: skip
    facts = [
        ("made", f"{moment(int(header['time_ms']))}, {ago(int(header['time_ms']), now_ms)}"),
        ("hash", header["hash"]),
        ("state root", header["state_root"]),
    ]
    sentence = (
        f"Block {height:,} has {counted(total, 'transaction')}; {named(header['proposer'], names)} made it."
    )
    if len(rows) < total:
        sentence += f" The first {len(rows)}:" if rows else ""
    following = [f"node.py tx {found['transactions'][0]['id']}"] if rows else []
    titles = ("id", "kind", "from", "to", "amount", "fee")
    return Summary(sentence, facts=facts, titles=titles, rows=rows, following=following)


def result_of(receipt: Answer | None) -> str:
    """What became of a transaction that is in a block, in words."""
    if receipt is None:
        return "pruned"
    if not receipt["status"]:
        return "applied"
    return str(receipt.get("failure") or Verdict(receipt["status"]).name.lower())


def transaction_of(found: Answer, names: Names, when: str, trust: str) -> Summary:
    """found: of `Client.transaction`, whose proof was verified, `trust` says against what."""
    receipt = found.get("receipt")
    result = result_of(receipt)
    sender, recipient = named(found["sender"], names), named(found["recipient"], names)
    what = (
        f"{found['amount']:,} from {sender} to {recipient}"
        if found["kind_name"] == "transfer"
        else (f"a {found['kind_name']} by {sender}")
    )
    facts = [
        ("id", str(found["id"])),
        ("committed", when),
        ("result", result),
        ("fee", f"{found['fee'] if receipt is None else receipt['fee']:,}"),
        ("nonce", f"{found['nonce']:,}"),
        ("expires", figure("expiry_height", found["expiry_height"])),
        ("proof", trust),
    ]
    if receipt is not None and not receipt["status"] and found["kind_name"] == "transfer":
        left = f"{sender} {receipt['sender_balance']:,}, {recipient} {receipt['recipient_balance']:,}"
        facts.insert(4, ("then had", left))
    standing: Standing = "good" if receipt is None or not receipt["status"] else "warn"
    position = f"block {int(found['height']):,}"
    following = [f"node.py block {found['height']}"]
    return Summary(f"Committed in {position}, proven: {what}.", standing, facts=facts, following=following)


def scaled(answer: Answer) -> Summary:
    """answer: of `Client.scale`."""
    sentence = f"{counted(int(answer['validators']), 'Validator')} serve now."
    changes: Sequence[tuple[str, str]] = [
        (word, ", ".join(answer[word])) for word in ("added", "removed") if answer.get(word)
    ]
    return Summary(sentence, "good", facts=changes, following=["node.py top"])


def changed(action: str, answer: Answer, names: Names) -> Summary:
    """A change of membership that is in force."""
    leader = named(str(answer.get("leader") or ""), names) or "nobody"
    sentence = (
        f"{named(answer['member'], names)} {_CHANGES[action]}; {leader} leads in term {answer['term']}."
    )
    return Summary(sentence, "good", following=["node.py members"])


def snapshot_summary(kept: Answer, data_dir: Path, node: str) -> Summary:
    """kept: a snapshot, as `snapshot create` has it."""
    facts = [
        ("hash", str(kept["hash"])),
        ("accounts", f"{kept['accounts']:,}"),
        *([("size", size(kept["stored_bytes"]))] if "stored_bytes" in kept else []),
    ]
    following = [f"node.py snapshot export FOLDER --data-dir {data_dir} --node {node}"]
    sentence = f"{node} has a snapshot of height {kept['height']:,}."
    return Summary(sentence, "good", facts=facts, following=following)


def snapshots_summary(kept: Sequence[Answer], data_dir: Path, node: str) -> Summary:
    """kept: of each snapshot, the oldest first."""
    options = f" --data-dir {data_dir} --node {node}"
    if not kept:
        return Summary(f"{node} has no snapshot.", following=[f"node.py snapshot create{options}"])
    rows = [
        (f"{each['height']:,}", f"{each['accounts']:,}", size(each["stored_bytes"]), short(each["hash"]))
        for each in kept
    ]
    return Summary(
        f"{node} has {counted(len(kept), 'snapshot')}, the newest of height {rows[-1][0]}.",
        titles=("height", "accounts", "size", "hash"),
        rows=rows,
        following=[f"node.py snapshot export FOLDER{options}"],
    )


def check_summary(result: Answer, folder: Path, running: bool) -> Summary:
    """result: of `check`. running: whether a copy was looked at, of a node that runs."""
    what = f"a copy of {folder}, whose node runs" if running else str(folder)
    facts = [(name.replace("_", " "), figure(name, result[name])) for name in CHECKED if name in result]
    if result["ok"]:
        sentence = f"Sound: every byte, block and root in {what} is as it must be."
        return Summary(sentence, "good", facts=facts)
    sentence = f"Damaged: {what}."
    problem = result.get("problem")
    facts = [("first fault", figure("problem", problem)), *facts]
    return Summary(sentence, "bad", facts=facts, following=[f"node.py logs --data-dir {folder.parent}"])
