"""Discovery after Maymounkov and Mazieres, "Kademlia" (2002), hardened after S/Kademlia (2007)."""
