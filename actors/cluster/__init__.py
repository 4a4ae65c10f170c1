"""The Ray cluster that carries a node's actors."""
