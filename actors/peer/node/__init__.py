"""The peer of a whole node: the wire joined to Storage and Consensus."""
