"""Attacks on a running network, as strangers, clients, observers, members and other users make them."""
