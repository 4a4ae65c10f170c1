"""What `node.py simulate peers` runs: every promise of the peer network, at any size, from one seed.

lookups        under churn: a fifth of the nodes goes silent while as many join; success must be >= 99 %
growth         hops and messages per lookup at doubling sizes, as a + b log2 N
announcement   one block announced among a fifth of hostile nodes; reaches every node that honest
               connections lead to
eclipse        a fifth of hostile identities from four subnets: the worst share of an honest table they own
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from bench.simulation.peer.finding import attacked, hostile_share, log_fit, settled
from bench.simulation.peer.spreading import Spreading

SUCCESS_MIN = 0.99
CHURN = 0.2
HOSTILE_SHARE = 0.2
ECLIPSE_SHARE_MAX = 0.5
GROWTH_SIZES_MIN = 64


def simulate(nodes: int, seed: int, progress: Callable[[str], None]) -> dict[str, object]:
    """All four simulations of `nodes` nodes. `failed` names those whose promise did not hold."""
    progress("lookups under churn")
    finding = settled(seed, nodes)
    finding.churn(CHURN, window_s=60.0)
    lookups = finding.lookups(300, window_s=60.0, settled_s=10.0)
    progress("growth with the number of nodes")
    growth, grows = _growth(nodes, seed)
    progress("an announcement among hostile nodes")
    announcement, reached_all = _announcement(nodes, seed)
    progress("an eclipse from few subnets")
    victim = attacked(seed, nodes, round(HOSTILE_SHARE * nodes), subnet_limits=(2, 10))
    worst = max(hostile_share(victim, node) for node in victim.alive())
    held = {
        "lookups": lookups.success >= SUCCESS_MIN,
        "growth": grows,
        "announcement": reached_all,
        "eclipse": worst < ECLIPSE_SHARE_MAX,
    }
    return {
        "nodes": nodes,
        "seed": seed,
        "lookups": asdict(lookups),
        "growth": growth,
        "announcement": announcement,
        "eclipse": {"hostile": round(HOSTILE_SHARE * nodes), "worst_share": round(worst, 3)},
        "failed": [name for name, holds in held.items() if not holds],
    }


def _growth(nodes: int, seed: int) -> tuple[dict[str, object], bool]:
    """Means at sizes that double up to `nodes`, and the fit; holds while no doubling costs ever more."""
    sizes = [size for size in (nodes >> shift for shift in range(4, -1, -1)) if size >= GROWTH_SIZES_MIN]
    stats = [settled(seed, size).lookups(300, window_s=10.0) for size in sizes]
    told: dict[str, object] = {"sizes": sizes}
    if len(sizes) < 2:
        return told, True
    holds = True
    for name in ("hops_mean", "messages_mean"):
        values = [float(getattr(entry, name)) for entry in stats]
        offset, slope, residual = log_fit(sizes, values)
        told[name] = [round(value, 3) for value in values]
        told[f"{name}_fit"] = {"a": round(offset, 3), "b": round(slope, 3), "residual": round(residual, 3)}
        holds = holds and slope > 0 and residual < 0.2
    return told, holds


def _announcement(nodes: int, seed: int) -> tuple[dict[str, object], bool]:
    spreading = Spreading(seed, nodes, hostile=round(HOSTILE_SHARE * nodes))
    source, world = spreading.honest()[0], spreading.world
    world.run(1.0)
    for attacker in spreading.hostile():
        attacker.attack(false_id=bytes(32))
    world.run(2.0)
    start_s, before = world.now_s, world.messages
    source.publish(b"block 1")
    world.run(start_s + 20.0)
    reached = {node.identity: node.received[b"block 1"] for node in spreading.honest() if node.received}
    reachable = spreading.reachable(source.identity)
    told: dict[str, object] = {
        "honest": len(spreading.honest()),
        "reachable": len(reachable),
        "reached": len(reached),
        "latest_s": round(max(reached.values()) - start_s, 3),
        "messages": world.messages - before,
    }
    return told, set(reached) == reachable
