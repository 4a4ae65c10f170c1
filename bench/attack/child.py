"""One attack, in a process of its own.

python -m bench.attack.child NAME < Target as JSON       its Outcome as the last line of standard output
"""

from __future__ import annotations

import sys

import msgspec

from bench.attack.registry import attacks, decode_target


def main() -> None:
    """Run the attack that the command line names."""
    target = decode_target(sys.stdin.buffer.read())
    outcome = attacks()[sys.argv[1]].run(target)
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
