"""Attacks on a running network, as strangers, clients, observers, removed members and other users make them."""
