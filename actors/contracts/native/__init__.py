"""Native code for contracts: a cache of what the interpreter would answer, which defines every answer.

Theory of operation. A verified program becomes one module of LLVM IR: a function for each of its functions.
The loops over rows are compiled once, for all programs: over calls of one function (loop.py), which tools
and tests use, and over rows of a block (execution/native_block.py). Entries and coins that the calls may
touch lie in hash tables (tables.py), whose slots the code reads and writes in place; the values before are
kept in a journal, so that a call that fails leaves nothing behind. The code adds nothing to a table but
where it is told to suppose what is missing: else the loop stops before that call, and goes on when the host
has fetched it.

Registers lie in memory as they are encoded (types.py): little-endian, one value behind the other. So to
encode is to copy.
"""
