"""Configuration: one frozen model a section, every value bounded, unknown keys refused.

Defaults live here; a profile, the environment and `--set` override them (see `config/effective.py`).
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from actors.ledger.governed_payloads import GOVERNORS_MAX

WORKERS_MAX = 256
VALIDATORS_UNASKED_MAX = 2


def _network_address(text: str) -> str:
    """An IP address or a CIDR, as it is. Raises ValueError for anything else."""
    ipaddress.ip_network(text, strict=False)
    return text


HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,253}$")]
PublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NetworkAddress = Annotated[str, AfterValidator(_network_address)]


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeSettings(Section):
    """How many of each actor one node has, and where it keeps its data."""

    validators: int = Field(
        0, ge=0, le=WORKERS_MAX, description="Validator worker processes; 0: a share of the cores, 1 or 2"
    )
    mempool_shards: int = Field(1, ge=1, le=64, description="mempool shards, by sender")
    gateways: int = Field(1, ge=0, le=16, description="HTTP gateways; the first listens on gateway.port")
    data_dir: str = Field("data", description="where keys, genesis, blocks and journals live")
    key_file: str = Field(
        "", description="key of a node that joins, as a mounted secret; empty: in its folder of the data"
    )
    start_timeout_s: int = Field(
        120, ge=5, le=3600, description="give up a start that has made no progress for this long"
    )
    check_memory: bool = Field(True, description="refuse to start where the machine has too little memory")
    stop_timeout_s: int = Field(
        40, ge=5, le=600, description="after this long a stop is over: what is left is killed"
    )

    def validator_count(self, nodes: int, cores: int) -> int:
        """Validators of each of `nodes` nodes that share a machine of `cores`."""
        return self.validators or max(1, min(VALIDATORS_UNASKED_MAX, cores // nodes))


class NetworkSettings(Section):
    """What a new network's genesis says. Fixed once the data directory exists."""

    name: str = Field("local", pattern=r"^[a-z0-9-]{1,32}$", description="network name in the genesis")
    development_accounts: int = Field(10_000, ge=2, le=2_000_000, description="funded, publicly known keys")
    development_balance: int = Field(1_000_000_000, ge=1, description="smallest units each of them holds")
    block_transactions_max: int = Field(10_000, ge=1, le=100_000, description="transactions in one block")
    block_payload_bytes_max: int = Field(4 << 20, ge=0, le=64 << 20, description="payload bytes in one block")
    fee_min: int = Field(1, ge=0, le=2**53 - 1, description="smallest fee of a transaction")
    balance_min: int = Field(
        1, ge=1, le=2**53 - 1, description="smallest balance: what a transfer to a new account must carry"
    )
    gas_per_unit: int = Field(
        100, ge=1, le=2**53 - 1, description="gas of contract calls that one smallest unit of a fee buys"
    )
    entry_deposit: int = Field(
        1,
        ge=0,
        le=2**53 - 1,
        description="smallest units that an entry of a contract costs, and gives back",
    )
    block_gas_max: int = Field(
        1_000_000, ge=1, le=2**53 - 1, description="gas that all contract calls of one block may use"
    )
    governors: list[PublicKey] = Field(
        [],
        max_length=GOVERNORS_MAX,
        description="public keys of those who approve governed functions; none: the network has no such",
    )
    governors_needed: int = Field(
        0, ge=0, le=GOVERNORS_MAX, description="how many of them; 0: a majority of the governors"
    )


class GatewaySettings(Section):
    """The HTTP face."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8470, ge=0, le=65535, description="0 takes any free port")
    batch_rows_max: int = Field(5_000, ge=1, le=100_000, description="rows in one binary batch")
    batch_payload_bytes_max: int = Field(2 << 20, ge=0, le=64 << 20, description="payload bytes in one batch")
    inflight_rows_max: int = Field(
        200_000, ge=1, description="rows being submitted or awaited; above it: 503"
    )
    client_rows_share: float = Field(
        0.5,
        ge=0.01,
        le=0.99,
        description="part of those that one client alone may have; several leave room for others; then 429",
    )
    single_wait_ms: int = Field(2, ge=0, le=1000, description="how long single submissions gather to a batch")
    commit_timeout_s: int = Field(30, ge=1, le=600, description="longest wait for ?wait=committed; then 504")
    gap_grace_ms: int = Field(
        1_000, ge=0, le=60_000, description="how long a row with a missing nonce before it is waited for"
    )
    client_rate_max: int = Field(5_000, ge=0, description="requests a second of one client; then 429; 0: any")
    client_connections_rate_max: int = Field(
        1_000, ge=0, description="connections a second of one client, over TLS a quarter; then 429; 0: any"
    )
    client_streams_rate_max: int = Field(
        100, ge=0, description="event streams that one client opens a second; then 429; 0: any"
    )
    client_inflight_max: int = Field(1_024, ge=1, description="open requests of one client; then 503")
    requests_inflight_max: int = Field(4_096, ge=1, description="open requests of all clients; then 503")
    api_keys_file: str = Field("", description="SHA256-HEX ROLE NAME a line; empty: no key is needed")
    tls_certificate_file: str = Field("", description="PEM chain: serve https alone; needs tls_key_file")
    tls_key_file: str = Field("", description="PEM private key of the certificate")
    allowed_origins: list[str] = Field(
        [], max_length=64, description="web origins whose pages may read and submit, never administer"
    )
    allowed_hosts: list[HostName] = Field(
        [], max_length=64, description="names that this node answers to, besides localhost and IP addresses"
    )
    trusted_proxies: list[NetworkAddress] = Field(
        [], max_length=64, description="addresses or CIDRs of proxies whose word on the client's is taken"
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded", "x-real-ip"] = Field(
        "x-forwarded-for", description="the header in which those proxies, and nobody before, say it"
    )
    connections_max: int = Field(
        8_192, ge=16, le=65_536, description="open connections; a client has half of what is left at most"
    )
    keep_alive_s: int = Field(
        75, ge=1, le=3600, description="an idle connection is closed then; more than the 60 s of balancers"
    )
    head_timeout_s: int = Field(10, ge=1, le=600, description="a request's line and headers are here by then")
    transfer_bytes_per_s_min: int = Field(
        4_096, ge=1, le=1 << 20, description="bodies that arrive, and answers that are read, more slowly end"
    )
    heavy_reads_max: int = Field(
        16, ge=2, le=1_024, description="proofs, status and the like answered at a time; half by one client"
    )
    subscribers_max: int = Field(4_096, ge=0, le=65_536, description="open event streams; then 503")
    staleness_max_ms: int = Field(
        1_000, ge=0, le=60_000, description="age of the head that reads are answered from unless asked else"
    )
    lag_max_s: int = Field(
        30, ge=1, le=3_600, description="an observer that takes longer to reach the known head is not ready"
    )
    cache_blocks: int = Field(64, ge=1, le=100_000, description="final blocks kept decoded for reads")
    scheduler_cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the actor")
    niceness: int = Field(0, ge=0, le=19)


class MempoolSettings(Section):
    """Pending transactions."""

    capacity_rows: int = Field(
        200_000, ge=16, le=10_000_000, description="pending rows in a shard; then POOL_FULL"
    )
    initial_rows: int = Field(16_384, ge=16, description="rows allocated at the start; grows x1.5")
    sender_rows_max: int = Field(
        1_024, ge=1, le=65_536, description="pending rows of one sender; also the nonce window"
    )
    payload_bytes_max: int = Field(
        64 << 20,
        ge=4096,
        le=1 << 34,
        description="payload bytes in a shard, in chunks of 128; then POOL_FULL",
    )
    level_fee_per_kib: int = Field(
        4,
        ge=1,
        le=1 << 32,
        description="fee per KiB above the lowest level; the next ones ask 4 and 16 times",
    )
    age_blocks: int = Field(100, ge=1, le=1_000_000, description="blocks of waiting that lift a row a level")
    spread_rows: int = Field(
        64, ge=1, le=1024, description="places a row may move in a draw so that neighbours share no account"
    )
    source_share: float = Field(
        0.5, ge=0.01, le=0.99, description="part of a shard that rows of one client alone may take"
    )
    member_share: float = Field(
        0.75, ge=0.01, le=0.99, description="the same for what one other member passes on of its clients"
    )
    parked_share: float = Field(
        0.25,
        ge=0.01,
        le=1,
        description="part of a shard for rows that wait for a missing nonce; then NONCE_GAP",
    )
    parked_s_max: int = Field(
        600, ge=1, le=86_400, description="how long a row waits for a missing nonce; then it is dropped"
    )
    outbox_rows: int = Field(16_384, ge=16, le=65_536, description="admitted rows kept for gossip")
    journal_bytes_max: int = Field(
        256 << 20, ge=1 << 20, description="journal size before durable waits are refused"
    )
    journal_flush_ms: int = Field(5, ge=0, le=1000, description="longest wait to share one fsync")
    scheduler_cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the actor")
    niceness: int = Field(2, ge=0, le=19)


class ValidatorSettings(Section):
    """CPU work in chunks."""

    kernels: Literal["auto", "portable", "simd"] = Field(
        "auto", description="which hashing and signature code"
    )
    chunk_rows_max: int = Field(8_192, ge=16, le=65_536, description="rows in one call at most")
    chunk_target_ms: int = Field(25, ge=1, le=1000, description="how long one call should work")
    chunk_timeout_s: int = Field(
        20, ge=1, le=600, description="a silent worker's chunk is taken from it after this"
    )
    chunk_overdue_ms: int = Field(
        50, ge=10, le=60_000, description="a chunk may always take this long before another worker gets it"
    )
    contract_cells: int = Field(
        1, ge=0, le=1, description="processes of each that run heavy blocks' contracts, from the first one on"
    )
    workers_min: int = Field(1, ge=1, le=WORKERS_MAX, description="Validators at least, when load decides")
    workers_max: int = Field(
        0, ge=0, le=WORKERS_MAX, description="Validators at most, when load decides; 0: load does not"
    )
    scale_interval_s: float = Field(5, ge=0.1, le=3600, description="time between two looks at the load")
    scheduler_cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the actor")
    niceness: int = Field(5, ge=0, le=19)


class ConsensusSettings(Section):
    """Ordering and the block pipeline."""

    block_interval_ms: int = Field(
        50, ge=1, le=60_000, description="time between two blocks while one before them is not final"
    )
    blocks_inflight_max: int = Field(4, ge=1, le=64, description="executed blocks that wait for the disk")
    heartbeat_ms: int = Field(50, ge=1, le=60_000, description="between a leader's signs of life")
    election_timeout_ms_min: int = Field(
        150, ge=2, le=600_000, description="silence before an election, at least"
    )
    election_timeout_ms_max: int = Field(
        300, ge=2, le=600_000, description="silence before an election, at most"
    )
    founding: Literal["all", "majority"] = Field(
        "all",
        description="who must be there when a network makes its first block; with majority, those who were "
        "not and a majority that lost its disks can begin a second chain",
    )
    log_retain_entries: int = Field(
        100_000, ge=16, le=500_000, description="log entries kept for members that were away"
    )
    clock_ahead_ms_max: int = Field(
        10_000,
        ge=200,
        le=3_600_000,
        description="how far a block's time may be ahead of this member's clock to be voted for; of a clock "
        "half as far from the network's the node warns, and does not propose by it",
    )
    read_timeout_ms: int = Field(2_000, ge=10, le=60_000, description="longest wait for a linearizable read")
    trace_file: str = Field(
        "",
        description="append every event of the replica to this file, as NDJSON for the TLA+ trace "
        "specification of etcd-io/raft, which wants all nodes' files in one, and knows no joint changes: it "
        "reads up to the first change of members",
    )
    scheduler_cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the actor")
    niceness: int = Field(0, ge=0, le=19)


class StorageSettings(Section):
    """Disk and state."""

    durability: Literal["sync", "interval", "none"] = Field(
        "sync", description="when a commit reaches the disk"
    )
    interval_ms: int = Field(200, ge=1, le=60_000, description="time between syncs in mode interval")
    checkpoint_blocks: int = Field(200, ge=1, description="blocks between two checkpoints of the accounts")
    snapshot_blocks: int = Field(1_000, ge=0, description="blocks between two snapshots; 0 makes none")
    snapshots_kept: int = Field(
        2, ge=1, le=64, description="the newest snapshots, for new nodes to begin from"
    )
    retention: Literal["archive", "full", "light"] = Field(
        "archive", description="forget nothing; old bodies; or old headers as well"
    )
    retain_blocks: int = Field(10_000, ge=1, description="newest blocks that full and light keep")
    disk_reserve_mb: int = Field(
        256, ge=0, le=1 << 20, description="free space below which the node is read-only; 0 looks at nothing"
    )
    files_open_max: int = Field(
        256, ge=64, le=65_536, description="files of the database held open, those used last"
    )
    proof_heights_max: int = Field(
        1024, ge=0, le=65_536, description="past heights whose state can be proven; the oldest go first"
    )
    hash_threads: int = Field(
        0, ge=0, le=64, description="threads that hash the state tree; 0: half the cores, at most 4"
    )
    contract_cells: int = Field(
        1, ge=0, le=16, description="processes that run contracts' compiled code; 0: they are interpreted"
    )
    proof_history_mb: int = Field(128, ge=0, le=65_536, description="memory that those heights may take")
    scheduler_cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the actor")
    niceness: int = Field(1, ge=0, le=19)


class PeerSettings(Section):
    """The node's place on the network."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(0, ge=0, le=65535, description="0 takes any free port")
    advertise: str = Field(
        "",
        max_length=260,
        pattern=r"^$|^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[1-9][0-9]{0,4})?$",
        description="host[:port] at which others reach this node, behind NAT or in a container; empty "
        "publishes the bound address, and none if that is 0.0.0.0 or ::",
    )
    seeds: list[str] = Field([], max_length=64, description="host:port of nodes to begin discovery from")
    allow_observers: bool = Field(True, description="whether nodes outside the genesis may connect")
    subnet_limits: bool = Field(False, description="bound routes of one subnet; off for loopback networks")
    begin_with: Literal["snapshot", "blocks"] = Field(
        "snapshot", description="what a new observer asks its peers for first"
    )
    sync_pause_s: int = Field(5, ge=1, le=3600, description="time between two looks for missed blocks")
    scheduler_cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the actor")
    niceness: int = Field(0, ge=0, le=19)

    @field_validator("advertise")
    @classmethod
    def _can_be_dialled(cls, value: str) -> str:
        if value.startswith(("0.0.0.0", "[::]")):
            raise ValueError(f"{value} is where a node listens, not where others reach it")
        return value


class LogSettings(Section):
    """Logs: one rotated file an actor, under the data directory, and standard error of the command."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    json_lines: bool = Field(False, description="one JSON object a line instead of text")
    rotation_mb: int = Field(20, ge=1, le=1024, description="a log file is rotated at this size")
    retention_files: int = Field(3, ge=1, le=100, description="rotated files kept")


class ClusterSettings(Section):
    """The Ray cluster that carries the node."""

    address: str = Field("", description="join this cluster; empty starts a local one")
    namespace: str = Field("raychain", min_length=1, description="Ray namespace of the actors")
    runtime_dir: str = Field("", description="for Ray's session and sockets; empty: TMPDIR/raychain-UID")
    object_store_mb: int = Field(512, ge=80, le=65_536, description="shared memory of a local cluster")
    spread_validators: bool = Field(False, description="place Validators on as many hosts as there are")


class DemoSettings(Section):
    """What `demo` offers to the network."""

    seconds: int = Field(12, ge=2, le=3600, description="length of the open-loop phase")
    rate_tps: int = Field(0, ge=0, description="offered load; 0 measures what the node takes and offers that")
    batch_rows: int = Field(5_000, ge=1, le=5_000, description="transactions in one HTTP request")


class Settings(Section):
    """Everything."""

    node: NodeSettings = NodeSettings()
    network: NetworkSettings = NetworkSettings()
    gateway: GatewaySettings = GatewaySettings()
    mempool: MempoolSettings = MempoolSettings()
    validator: ValidatorSettings = ValidatorSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    storage: StorageSettings = StorageSettings()
    peer: PeerSettings = PeerSettings()
    log: LogSettings = LogSettings()
    cluster: ClusterSettings = ClusterSettings()
    demo: DemoSettings = DemoSettings()

    def of_node(self, number: int) -> Settings:
        """Those of the node of this number, from 0, of a network in one place: its own ports and files."""
        if not number:
            return self
        gateway, consensus, peer = self.gateway, self.consensus, self.peer
        port = gateway.port + number * self.node.gateways if gateway.port else 0
        trace = f"{consensus.trace_file}.{number + 1}" if consensus.trace_file else ""
        return self.model_copy(
            update={
                "gateway": gateway.model_copy(update={"port": port}),
                "consensus": consensus.model_copy(update={"trace_file": trace}),
                "peer": peer.model_copy(update={"port": peer.port + number if peer.port else 0}),
            }
        )
