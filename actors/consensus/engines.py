"""Which consensus engine a network has: the one that its genesis means. Only this file chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.consensus.agreement import Agreement, Dependencies
from actors.consensus.raft_node.agreement import RaftAgreement

if TYPE_CHECKING:
    from loguru import Logger

_BY_GENESIS_VERSION: dict[int, Callable[[Dependencies, Logger], Agreement]] = {3: RaftAgreement}


def agreement_of(node: Dependencies, log: Logger) -> Agreement:
    """The engine of this node, which does nothing before it runs."""
    return _BY_GENESIS_VERSION[node.genesis.version](node, log)
