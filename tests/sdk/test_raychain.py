"""`import raychain`, as application developers write it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import raychain

NODE_ONLY = ("ray", "numba", "rocksdict", "fastapi", "uvicorn")


def test_it_is_imported_anywhere_and_brings_nothing_of_a_node(tmp_path: Path) -> None:
    code = (
        "import sys; from raychain import *; from raychain import __all__\n"
        f"print(sorted({set(NODE_ONLY)!r} & set(sys.modules)), set(__all__) <= set(globals()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    )
    assert run.stdout == "[] True\n"


def test_what_it_exports_signs_and_reads_a_batch() -> None:
    alice, bob = (raychain.Signer(bytes([number]) * 32) for number in (1, 2))
    transfer = raychain.Transfer(bob.public_key, amount=100, nonce=0, fee=1)
    signed = raychain.sign_transfer(alice, 7, transfer)
    read = raychain.decode_batch(raychain.encode_batch(signed), rows_max=1, payload_bytes_max=0)
    assert read.rows["amount"].tolist() == [100]
    assert read.ids().tobytes() == signed.ids().tobytes()
