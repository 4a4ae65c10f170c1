"""Native code for contracts: a cache of what the interpreter would answer, which defines every answer.

Theory of operation. A verified program becomes one module of LLVM IR: a function for each of its functions,
and one loop over the rows of a batch of calls. Entries and coins that the calls may touch lie in hash tables
(tables.py), whose slots the code reads and writes in place; the values before are kept in a journal, so that
a call that fails leaves nothing behind. The code adds nothing to a table: where it looks for what is not
there, the loop stops before that call, and goes on when the host has fetched it (driver.py).

Registers lie in memory as they are encoded (types.py): little-endian, one value behind the other. So to
encode is to copy.
"""
