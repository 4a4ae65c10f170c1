"""Configuration: bad values are refused with the field's name, secrets stay out of the repr."""

import pytest

from actors.peer.config import KnownMember, PeerConfig, PeerIntervals, format_address, parse_address
from actors.peer.errors import ConfigError

GENESIS = b"g" * 32


def test_seed_is_never_in_repr() -> None:
    seed = b"\x5aSECRET-seed-of-this-node-000000"
    config = PeerConfig(identity_seed=seed, genesis_hash=GENESIS)
    assert "SECRET" not in repr(config)
    assert seed.hex() not in repr(config)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("identity_seed", {"identity_seed": b"short", "genesis_hash": GENESIS}),
        ("genesis_hash", {"identity_seed": b"s" * 32, "genesis_hash": b""}),
        ("listen_port", {"identity_seed": b"s" * 32, "genesis_hash": GENESIS, "listen_port": 65_536}),
        ("address", {"identity_seed": b"s" * 32, "genesis_hash": GENESIS, "seeds": ("nowhere",)}),
    ],
)
def test_bad_field_is_named(field: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=field):
        PeerConfig(**arguments)  # type: ignore[arg-type]


def test_intervals_must_ascend() -> None:
    with pytest.raises(ConfigError, match="probe_s"):
        PeerIntervals(idle_s=60, probe_s=30)


def test_member_key_length() -> None:
    with pytest.raises(ConfigError, match=r"member\.identity"):
        KnownMember(b"x" * 31)


@pytest.mark.parametrize("address", ["a:1", "127.0.0.1:65535", "[::1]:9000"])
def test_address_round_trip(address: str) -> None:
    assert format_address(*parse_address(address)) == address


@pytest.mark.parametrize(
    "address", ["", ":1", "a:", "a:0", "a:65536", "::1:9000", "a:٣", "a:1x", "a" * 254 + ":1"]
)
def test_bad_address(address: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(address)
