"""What the figures of a command's result are, in words for somebody who never ran it, the most telling first.

By command: the path of a key in the result, `*` for every item, and its words. A word in braces is a key of
the item; `{key}` is the item's own key.
"""

from __future__ import annotations

_LATENCY = {
    "p50_ms": "half of them within, ms",
    "p99_ms": "99 of 100 within, ms",
}
_LOAD = {
    "generator_ceiling_tps": "what the load generator could offer at most, transactions/s",
    "signature_yardstick_per_core": "signatures/s that libsodium verifies on one core in the same run",
    "ratio_to_yardstick": "transactions/s over what libsodium verifies",
    "rows_per_request": "transactions a request",
    "requests_in_flight_max": "requests in flight at most",
    "kernels": "compiled code in use",
    "durability": "when blocks are synced to disk",
}
_DEMO = {
    "tps": "transactions/s committed, from HTTP to a block on disk",
    **_LATENCY,
    "nodes": "nodes",
    "calibration_tps": "transactions/s in a closed loop, which never has more than the requests in flight",
    "lost_committed": "transactions acknowledged and lost",
    "elections": "elections of a leader",
    "started_s": "start of the network, s",
    **_LOAD,
}
_SOAK = {
    "acknowledged": "transactions acknowledged",
    "lost": "of these lost",
    "duplicated": "of these committed twice",
    "forks": "forks",
    "verdict": "verdict of the judge",
    "minutes": "minutes",
    "nodes": "nodes",
    "rate_tps": "transactions/s offered",
    "faults_injected.*": "faults injected: {key}",
    "operations_checked": "reads and writes checked for linearizability",
    "steady_p50_ms": "half of the transactions within, before the faults, ms",
    "steady_p99_ms": "99 of 100 within, before the faults, ms",
    "generator_ceiling_tps": _LOAD["generator_ceiling_tps"],
}

MEASURES: dict[str, dict[str, str]] = {
    "demo": _DEMO,
    "demo --kill": {"failover_ms": "from the kill until blocks are committed again, ms", **_DEMO},
    "load": {
        "tps": "transactions/s sustained, from HTTP to a block on disk",
        **_LATENCY,
        "p999_ms": "999 of 1,000 within, ms",
        "saturation_tps": "transactions/s at which the node saturates",
        "errors": "errors",
        **_LOAD,
        "batch_rows": "transactions a request",
    },
    "soak": _SOAK,
    "bench signatures": {
        "simd_per_core": "signatures/s verified on one core by the compiled code",
        "simd_cached_per_core": "the same for senders seen often",
        "simd_ratio": "times as fast as libsodium",
        "simd_cached_ratio": "times as fast as libsodium, for senders seen often",
        "libsodium_per_core": "signatures/s verified on one core by libsodium",
        "batch_of_1_us": "one signature alone, us",
        "kernels": "compiled code in use",
        "rows": "signatures a batch",
    },
    "bench hashing": {
        "node_65.simd_per_s": "SHA-256 of inner nodes of a Merkle tree a second on one core",
        "node_65.ratio": "times as fast as hashlib",
        "row_209.simd_per_s": "SHA-256 of transactions a second on one core",
        "row_209.ratio": "times as fast as hashlib, for transactions",
        "kernels": "compiled code in use",
        "rows": "messages a batch",
    },
    "bench validation": {
        "runs.*.tps": "{workload} transfers/s validated, {validators} Validator(s)",
        "runs.*.not_signatures_us_per_tx": "of these not signatures, us a transfer: {workload}, {validators}",
        "signatures_per_s.*": "signatures/s, {key} Validator(s)",
        "libsodium_per_core": "signatures/s that libsodium verifies on one core in the same run",
        "rows": "transfers a block",
        "accounts": "accounts",
        "kernels": "compiled code in use",
    },
    "bench state": {
        "updates_per_s": "accounts/s updated, with the new state root",
        "proofs_per_s": "proofs/s made",
        "verifications_per_s": "proofs/s checked",
        "bytes_per_account": "memory an account, bytes",
        "ratio_to_hashlib": "updates over hashes of 65 bytes that hashlib makes in the same time",
        "accounts": "accounts",
    },
    "bench ladder": {
        "steps.*.tps": "transactions/s until durable, step `{step}`, {batch_rows} a request",
        "steps.*.reads_per_s": "account reads/s, step `{step}`",
    },
    "bench consensus": {
        "commit_ms.p50": "a small block's commit among the members: half within, ms",
        "commit_ms.p99": "99 of 100 within, ms",
        "failover_ms.p50": "from a leader's death to the next one's first entry: half within, ms",
        "failover_ms.p99": "99 of 100 within, ms",
        "hops": "a commit over one call of an actor there and back",
        "ratio_to_floor": "a commit over one loopback round trip and one fsync",
        "elections_under_load": "elections without a fault",
    },
    "bench mempool": {
        "admissions_per_s": "transactions/s admitted by one shard",
        **_LATENCY,
        "baseline_admissions_per_s": "transactions/s of one lock and one heap in the same run",
        "draw_10k_ms": "a block of 10,000 drawn from all pending, ms",
        "bytes_per_pending": "memory a pending transaction, bytes",
        "rows": "transactions pending",
    },
    "bench flood": {
        "flood_p99_ms": "99 of 100 of the others' transactions within, during the flood, ms",
        "quiet_p99_ms": "the same without it, ms",
        "others_lost": "of the others' transactions lost",
        "rows_of_flood": "transactions of the flood",
    },
    "bench storage": {
        "tps.*": "transactions/s executed, written and committed, disk synced: {key}",
        "group_commit_speedup": "times as fast as with a sync a submission",
        "bytes_written_per_tx": "written a transaction, bytes",
        "disk.bytes_per_tx_before": "on disk a transaction, bytes",
        "disk.bytes_per_tx_after": "the same after pruning, bytes",
        "snapshot_s": "making a snapshot, s",
        "restore_s": "restoring it, s",
        "recovery_s": "start after a crash, s",
        "accounts": "accounts",
    },
    "bench join": {
        "join_s": "a new node from its start to the head, s",
        "bytes_fetched": "of the snapshot, bytes",
        "bytes_per_account": "an account, bytes",
        "roots_agree": "same state root as the member",
    },
    "bench network": {
        "encrypted_mb_s": "one encrypted connection, MB/s",
        "encrypted_to_limit": "of what libsodium encrypts and decrypts alone",
        "raw_tcp_mb_s": "bare TCP in the same run, MB/s",
        "handshakes_per_s": "connections/s opened and authenticated",
        "block_propagation_ms.*.p50": "2 MB to {key} peers: half within, ms",
    },
    "bench member-latency": {
        "line_ms.p50": "a message over a socket between two actors: half within, ms",
        "wire_ms.p50": "over the encrypted wire to another member, ms",
        "ray_hop_ms.p50": "through Ray between two actors, the yardstick, ms",
        "ray_hops": "the wire and two sockets over one such hop",
    },
    "bench gateway": {
        "cached_read_rps": "reads/s of what the gateway keeps",
        "cached_read_ratio": "of the bare server's hello-world",
        "binary_submit_tps": "transactions/s submitted to a mempool in the same process, no signature checks",
        "binary_submit_real_tps": "the same into a mempool's actor",
        "binary_submit_ceiling_tps": "what the load generator could offer at most, transactions/s",
    },
    "bench clients": {
        "block_interval_ms.before": "between blocks without subscribers, ms",
        "block_interval_ms.with_subscribers": "between blocks with them, ms",
        "subscribers": "idle subscribers",
        "transfers": "transfers of one key while the leader's node is killed",
        "committed": "of these committed",
        "nonce_errors": "nonce errors",
        "longest_gap_s": "without a commit at the longest, s",
    },
    "simulate raft": {
        "seeds": "schedules of faults",
        "violations": "broken promises",
        "planted_bugs_found": "planted bugs found",
        "planted_bugs": "planted bugs",
        "steps": "steps",
    },
    "torture storage": {
        "acknowledged": "blocks acknowledged under kills, power cuts and flipped bits",
        "lost": "of these lost",
        "wrong_roots": "wrong state roots",
        "rounds": "deaths",
    },
    "torture validators": {
        "kills": "Validators killed",
        "late_ms": "the slowest transaction later than without kills by, ms",
        "bound_ms": "the bound for that, ms",
        "rate_tps": "transactions/s offered",
    },
    "fuzz signatures": {
        "cases": "signatures compared with libsodium",
        "disagreements": "disagreements",
        "accepted": "of these valid",
    },
}
