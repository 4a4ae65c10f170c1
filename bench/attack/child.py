"""One attack, in a process of its own.

python -m bench.attack.child NAME < Target as JSON       its Outcome as the last line of standard output

BUSY_CLIENT is the name of what is no attack, and is what attacks are compared with.
"""

from __future__ import annotations

import sys

import msgspec

from bench.attack.registry import attacks, decode_target
from bench.attack.submission import be_busy

BUSY_CLIENT = "busy-client"


def main() -> None:
    """Run the attack that the command line names."""
    target = decode_target(sys.stdin.buffer.read())
    name = sys.argv[1]
    outcome = be_busy(target) if name == BUSY_CLIENT else attacks()[name].run(target)
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
