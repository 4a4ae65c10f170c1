"""A contract whose calls are work and little else: 200 hashes, one of the other."""

from raychain import Address, Hash, Table, contract, ctx, entry, range, sha256, view


@contract
class HashChain:
    """Keeps, for each account, the end of the last chain that it asked for."""

    ends: Table[Address, Hash]

    @entry
    def run(self, seed: Hash) -> Hash:
        """Hash `seed` 200 times, and keep what comes out."""
        end = seed
        for _ in range(200):
            end = sha256(end)
        self.ends[ctx.sender] = end
        return end

    @view
    def end_of(self, who: Address) -> Hash:
        """What came out last."""
        return self.ends[who]
