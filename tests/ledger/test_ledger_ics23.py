"""ICS-23 proofs: the plain verifier, golden bytes, and the verifier of the cosmos/ics23 project (in Go).

The golden bytes in ics23_vectors.json are those that the outside verifier accepted. With a Go toolchain and
its modules at hand (`go mod download` in ics23_outside) it judges them, and all their single-bit flips,
again.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger import ics23, smt
from actors.ledger.hashing import sha256
from actors.ledger.ics23 import Absence, Existence
from actors.ledger.rows import FormatError

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "ics23_vectors.json").read_text())
Vector: TypeAlias = dict[str, Any]
Case: TypeAlias = tuple[str, str, str | None, bytes]
Judge: TypeAlias = Callable[[list[Case]], list[bool]]
SIZES = (1, 2, 3, 20, 300)


def key(number: int) -> bytes:
    return sha256(f"account {number}".encode())


def state_of(size: int) -> dict[bytes, bytes]:
    return {key(i): sha256(f"value {i}".encode())[:16] for i in range(size)}


def existence(state: dict[bytes, bytes], present: bytes) -> Existence:
    return Existence(present, state[present], smt.prove(state, present).siblings)


def absence(state: dict[bytes, bytes], missing: bytes) -> Absence:
    left, right = (other and existence(state, other) for other in smt.neighbours(state, missing))
    return Absence(left or None, right or None)


def vectors() -> list[Vector]:
    """Presence and absence in trees of every size, both ends of the order and empty siblings included."""
    made: list[Vector] = []
    for size in SIZES:
        state = state_of(size)
        root = smt.root(state).hex()
        by_path = sorted(state, key=sha256)
        for present in {by_path[0], by_path[-1], by_path[size // 2]}:
            proof = ics23.encode(existence(state, present)).hex()
            made.append({"root": root, "key": present.hex(), "value": state[present].hex(), "proof": proof})
        missing = sorted((key(i) for i in range(1000, 1400)), key=sha256)
        for other in (missing[0], missing[-1], missing[100], missing[200]):
            proof = ics23.encode(absence(state, other)).hex()
            made.append({"root": root, "key": other.hex(), "value": None, "proof": proof})
    return sorted(made, key=lambda vector: (vector["root"], vector["key"]))


def accepts(vector: Vector, proof: bytes) -> bool:
    root, of = bytes.fromhex(vector["root"]), bytes.fromhex(vector["key"])
    if vector["value"] is None:
        return ics23.verify_absence(root, of, proof)
    return ics23.verify_presence(root, of, bytes.fromhex(vector["value"]), proof)


def flips(proof: bytes) -> list[bytes]:
    number = int.from_bytes(proof, "big")
    return [(number ^ 1 << bit).to_bytes(len(proof), "big") for bit in range(8 * len(proof))]


def test_the_encoder_still_writes_the_golden_bytes() -> None:
    assert vectors() == VECTORS


def test_golden_proofs_cover_both_kinds_and_every_form() -> None:
    decoded = [ics23.decode(bytes.fromhex(v["proof"])) for v in VECTORS if v["value"] is None]
    absences = [proof for proof in decoded if isinstance(proof, Absence)]
    assert len(absences) == len(decoded)
    assert any(proof.left is None for proof in absences)
    assert any(proof.right is None for proof in absences)
    both = [(proof.left, proof.right) for proof in absences if proof.left and proof.right]
    assert any(smt.EMPTY in side.siblings for sides in both for side in sides)
    assert any(not side.siblings for p in absences for side in (p.left, p.right) if side)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['root'][:6]}-{v['key'][:6]}")
def test_golden_proofs_hold_and_no_flipped_bit_does(vector: Vector) -> None:
    proof = bytes.fromhex(vector["proof"])
    assert accepts(vector, proof)
    assert not [flipped for flipped in flips(proof) if accepts(vector, flipped)]
    assert not accepts({**vector, "root": bytes(32).hex()}, proof)
    assert not accepts({**vector, "key": key(10_000).hex(), "root": "11" * 32}, proof)
    assert not any(accepts(vector, proof[:cut]) for cut in range(len(proof)))
    assert not accepts(vector, proof + b"\0")


states = st.dictionaries(st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=40), max_size=24)


@given(states, st.binary(min_size=32, max_size=32))
def test_every_key_is_provably_there_or_not_and_never_both(state: dict[bytes, bytes], other: bytes) -> None:
    root = smt.root(state)
    for any_key in [*state, other]:
        if any_key in state:
            proof = ics23.encode(existence(state, any_key))
            assert ics23.verify_presence(root, any_key, state[any_key], proof)
            assert not ics23.verify_presence(root, any_key, state[any_key] + b"!", proof)
            assert not ics23.verify_absence(root, any_key, proof)
        elif state:
            proof = ics23.encode(absence(state, any_key))
            assert ics23.verify_absence(root, any_key, proof)
            assert not any(ics23.verify_absence(root, present, proof) for present in state)
        else:
            continue
        assert ics23.encode(ics23.decode(proof)) == proof


@settings(max_examples=40)
@given(st.integers(2, 60), st.data())
def test_proofs_of_leaves_that_are_no_neighbours_do_not_show_absence(size: int, data: st.DataObject) -> None:
    state = state_of(size)
    by_path = sorted(state, key=sha256)
    low = data.draw(st.integers(-1, size - 3)) if size > 2 else -1
    high = data.draw(st.integers(low + 2, size))
    left, right = (None if i in (-1, size) else existence(state, by_path[i]) for i in (low, high))
    if left is None and right is None:
        return
    forged = ics23.encode(Absence(left, right))
    assert not any(ics23.verify_absence(smt.root(state), k, forged) for k in by_path)
    between = [key(i) for i in range(2000, 2100)]
    assert not any(ics23.verify_absence(smt.root(state), k, forged) for k in between)


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused_with_the_field_named(data: bytes) -> None:
    try:
        outcome = ics23.encode(ics23.decode(data)) == data
    except FormatError as error:
        outcome = error.field.startswith("proof")
    assert outcome


def test_a_tree_without_leaves_has_no_absence_proof() -> None:
    with pytest.raises(FormatError, match="at least one leaf"):
        ics23.encode(Absence(None, None))
    with pytest.raises(FormatError, match="at most"):
        ics23.decode(bytes(ics23.PROOF_BYTES_MAX + 1))


def test_format_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(FormatError("field", 3, "at most 2")))
    assert (error.field, error.got, error.limit) == ("field", 3, "at most 2")
    assert str(error) == "field: got 3, expected at most 2"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Verdicts of the outside verifier for (root, key, value or None, proof)."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go toolchain")
    program = tmp_path_factory.mktemp("ics23") / "verify"
    built = subprocess.run(
        ["timeout", "120", go, "build", "-mod=mod", "-o", str(program), "."],
        cwd=HERE / "ics23_outside", env={**os.environ, "GOPROXY": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode:
        pytest.skip(f"the outside verifier cannot be built here: {built.stderr[-300:]}")

    def judge(cases: list[Case]) -> list[bool]:
        lines = "".join(f"{root} {of} {value or '-'} {proof.hex()}\n" for root, of, value, proof in cases)
        done = subprocess.run([str(program)], input=lines, capture_output=True, text=True, check=True)
        return [line == "true" for line in done.stdout.split()]

    return judge


def test_the_outside_verifier_accepts_the_golden_bytes_and_no_flipped_bit(outside: Judge) -> None:
    whole = [(v["root"], v["key"], v["value"], bytes.fromhex(v["proof"])) for v in VECTORS]
    assert all(outside(whole))
    flipped = [(root, of, value, flip) for root, of, value, proof in whole for flip in flips(proof)]
    verdicts = outside(flipped)
    assert len(verdicts) == len(flipped) > 10_000
    assert not any(verdicts)


def test_the_outside_verifier_agrees_with_the_plain_one_on_wrong_keys(outside: Judge) -> None:
    cases, expected = [], []
    for vector in VECTORS:
        for other in VECTORS[::3]:
            proof = bytes.fromhex(vector["proof"])
            cases.append((vector["root"], other["key"], vector["value"], proof))
            expected.append(accepts({**vector, "key": other["key"]}, proof))
    assert outside(cases) == expected
    assert any(expected)
    assert not all(expected)
