"""Peer: a node's place on the network (wire, connection table, discovery, gossip, channels, sync)."""
