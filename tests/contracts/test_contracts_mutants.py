"""Whatever bytes come: a typed refusal, or a program that keeps to what the verifier said of it."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts.encoding import encode_program
from bench.contract_fuzz.mutants import mutate_bytes, mutate_program
from bench.contract_fuzz.promises import call_all, ready_or_refused
from tests.contracts.programs import random_program


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    ready_or_refused(data)


@given(st.integers(0, 2**64))
@settings(max_examples=100)
def test_bytes_near_those_of_a_program(seed: int) -> None:
    random = Random(seed)
    data = encode_program(random_program(random, operations=12))
    for _ in range(10):
        if ready := ready_or_refused(mutate_bytes(random, data)):
            call_all(random, ready)


@given(st.integers(0, 2**64))
@settings(max_examples=100)
def test_programs_near_one_that_is_accepted(seed: int) -> None:
    random = Random(seed)
    program = random_program(random, operations=12)
    for _ in range(10):
        if ready := ready_or_refused(mutate_program(random, program)):
            call_all(random, ready)
