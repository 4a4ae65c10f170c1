"""One account floods a node with a million low-fee transfers while 100 others pay normal fees.

The others offer small batches in an open loop and wait for commit, first alone (`quiet_p99_ms`), then during
the flood (`flood_p99_ms`); latency counts from when a batch was due. The flood goes through the same HTTP API
as fast as the node answers, again and again over the nonces that are not committed yet, until all its rows
are offered (`flood_s`). What it can get in is signed beforehand, and it runs at the lowest priority of the
machine that it shares with the node: it costs the node what it sends, not what it takes to make it.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actors.storage.interface import Audit

_OTHERS = 100
_NORMAL_FEE = 1_000
_FLOOD_BATCH_ROWS = 1_000
_WARM_UP_ROUNDS = 10
_FAR_WINDOWS = 10
_SIGNERS = 2
_NICENESS = 19


def command(
    rows: Annotated[int, typer.Option(min=1_000, max=4_000_000, help="Rows of the flood.")] = 1_000_000,
    seconds: Annotated[
        int, typer.Option(min=2, max=600, help="How long the others offer, in each phase.")
    ] = 30,
    flood_seconds: Annotated[
        int, typer.Option(min=2, max=600, help="The flood breaks off after this.")
    ] = 180,
    rate: Annotated[int, typer.Option(min=100, max=20_000, help="Transfers a second of the others.")] = 400,
    window: Annotated[int, typer.Option(min=1, max=65_536, help="mempool.sender_rows_max")] = 1_024,
) -> dict[str, object]:
    """Run the benchmark."""
    from actors.console import console
    from actors.topology import running_node
    from config.effective import load

    overrides = ["network.development_accounts=200", f"mempool.sender_rows_max={window}"]
    settings = load("bench", overrides).settings
    with tempfile.TemporaryDirectory(prefix="raychain-flood-") as folder:
        scratch = Path(folder)
        with running_node(settings, scratch / "network", 1) as (_, node):
            genesis = node.directory.genesis
            rounds = -(-seconds * rate // _OTHERS)
            console.print(f"signing transfers of {_OTHERS} accounts")
            normal = _normal_rows(genesis, _WARM_UP_ROUNDS + 2 * rounds)
            _offer(node.url, scratch, normal[: _WARM_UP_ROUNDS * _OTHERS], rate)
            console.print("quiet: the others alone")
            half = (_WARM_UP_ROUNDS + rounds) * _OTHERS
            quiet = _offer(node.url, scratch, normal[_WARM_UP_ROUNDS * _OTHERS : half], rate)
            console.print(f"flood: {rows:,} rows of one account beside them")
            flood = Flood(node.url, genesis, rows, window, _signed_flood(scratch, genesis, rows, window))
            with flood:
                loud = _offer(node.url, scratch, normal[half:], rate)
                flood.wait(flood_seconds)
            health = node.health()
            audit: Audit = node.call("storage", "audit", timeout_s=120)
    shards = [facts for name, facts in health.items() if name.startswith("mempool") and facts]
    return {
        "rows_of_flood": rows,
        "rows_offered": flood.offered,
        "rows_accepted": flood.accepted,
        "flood_s": round(flood.elapsed_s, 1),
        "others_s": round(loud["elapsed_s"], 1),
        "rate_tps": rate,
        "quiet_p50_ms": round(quiet["p50_ms"], 1),
        "quiet_p99_ms": round(quiet["p99_ms"], 1),
        "flood_p50_ms": round(loud["p50_ms"], 1),
        "flood_p99_ms": round(loud["p99_ms"], 1),
        "ratio_p99": round(loud["p99_ms"] / quiet["p99_ms"], 2),
        "others_committed": quiet["accepted"] + loud["accepted"],
        "others_lost": quiet["rejected"] + quiet["failed"] + loud["rejected"] + loud["failed"],
        "verdicts": [facts["verdicts"] for facts in shards],
        "gc_pause_max_ms": {name: facts["gc_pause_max_ms"] for name, facts in health.items() if facts},
        "supply_conserved": audit.supply == audit.supply_expected,
        "durability": settings.storage.durability,
    }


def _normal_rows(genesis: Any, rounds: int) -> NDArray[Any]:
    """Signed transfers of development accounts 0 to 99 at a normal fee, in rounds of one nonce each."""
    from actors.ledger.signing import development_signer, sign_rows
    from bench.transfers import SignPlan, build_transfers

    plan = SignPlan("", genesis.network, genesis.chain_tag, _OTHERS, 0, rounds * _OTHERS)
    rows = build_transfers(plan)
    rows["fee"] = _NORMAL_FEE
    signers = [development_signer(genesis.network, number) for number in range(_OTHERS)]
    import numpy as np

    sign_rows(rows, signers, np.arange(len(rows)) % _OTHERS)
    return rows


def _signed_flood(scratch: Path, genesis: Any, rows: int, window: int) -> NDArray[Any]:
    """Rows of the flooding account by nonce: as many as it gets in if each of its rounds is committed."""
    import numpy as np

    from bench.generators import run_plans
    from bench.transfers import SignPlan

    rounds = -(-rows // ((1 + _FAR_WINDOWS) * window))
    share = -(-rounds * window // _SIGNERS)
    plans = [
        SignPlan(str(scratch / f"flood-{n}.npy"), genesis.network, genesis.chain_tag, 1, n * share, share,
                 first_account=_OTHERS)
        for n in range(_SIGNERS)
    ]  # fmt: skip
    run_plans(scratch, plans, "sign")
    return np.concatenate([np.load(plan.path) for plan in plans])


def _offer(url: str, scratch: Path, rows: NDArray[Any], rate: int) -> dict[str, Any]:
    """Offer rows in an open loop, in a process of its own, each batch waiting for its commit."""
    import numpy as np

    from bench.generators import run_plans
    from bench.load import LoadPlan

    path = scratch / "normal.npy"
    np.save(path, rows)
    plan = LoadPlan(url, str(path), 0, len(rows), batch_rows=20, mode="open", rate_tps=rate)
    return run_plans(scratch, [plan])[0]


class Flood:
    """A thread that offers low-fee rows of one account: signed as far as they can get, then out of reach.

    Rows inside the nonce window are signed, since they cost the node a signature check; those beyond it are
    refused before signatures are looked at, so theirs need not be right.
    """

    def __init__(self, url: str, genesis: Any, rows: int, window: int, signed: NDArray[Any]) -> None:
        self._url, self._genesis, self._rows, self._window = url, genesis, rows, window
        self._signed, self.elapsed_s = signed, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.offered = self.accepted = 0

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)
        if self._error is not None:
            raise RuntimeError("the flood broke off") from self._error

    def wait(self, timeout_s: float) -> None:
        """Until all rows are offered, or for so long."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        from actors.sdk.answers import ApiError
        from actors.sdk.client import Client

        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        began = time.monotonic()
        try:
            with Client(self._url, timeout_s=40) as client:
                while not self._stop.is_set() and self.offered < self._rows:
                    self._send_round(client, ApiError)
        except Exception as error:  # noqa: BLE001 -- handed to the thread that waits
            self._error = error
        self.elapsed_s = time.monotonic() - began

    def _send_round(self, client: Any, refused: type[Exception]) -> None:
        """The window's rows, and many times as many beyond it."""
        import numpy as np

        from actors.ledger.rows import Batch
        from actors.ledger.signing import development_signer

        signer = development_signer(self._genesis.network, _OTHERS)
        first = client.account(signer.public_key)["nonce"]
        near = self._signed[first : first + self._window]
        far = np.repeat(self._signed[:1], _FAR_WINDOWS * self._window)
        far["nonce"] = first + 2 * self._window + np.arange(len(far))
        for table in (near, far):
            for at in range(0, len(table), _FLOOD_BATCH_ROWS):
                if self._stop.is_set() or self.offered >= self._rows:
                    return
                rows = np.ascontiguousarray(table[at : at + _FLOOD_BATCH_ROWS][: self._rows - self.offered])
                try:
                    receipt = client.submit(Batch(rows, np.empty(0, dtype=np.uint8)), wait="accepted")
                    self.accepted += receipt.accepted
                except refused:
                    time.sleep(0.01)
                self.offered += len(rows)
