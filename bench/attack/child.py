"""One attack, in a process of its own.

python -m bench.attack.child NAME < Target as JSON       its Outcome as the last line of standard output
"""

from __future__ import annotations

import sys

import msgspec

from bench.attack.registry import Target, attacks


def main() -> None:
    """Run the attack that the command line names."""
    target = msgspec.json.decode(sys.stdin.buffer.read(), type=Target)
    outcome = attacks()[sys.argv[1]].run(target)
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
