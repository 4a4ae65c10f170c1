"""How the load decides the number of Validators."""

from __future__ import annotations

from actors.validator.scaling import LOOKS_TO_ADD, LOOKS_TO_REMOVE, LoadScaler


def test_sustained_load_adds_up_to_the_bound() -> None:
    scaler, workers = LoadScaler(1, 3), 1
    history = [workers := scaler.wanted(0.95, workers) for _ in range(4 * LOOKS_TO_ADD)]
    assert history[: LOOKS_TO_ADD - 1] == [1] * (LOOKS_TO_ADD - 1)
    assert history[-1] == max(history) == 3


def test_one_busy_look_adds_nothing() -> None:
    scaler = LoadScaler(1, 8)
    assert {scaler.wanted(share, 2) for share in (0.95, 0.6, 0.95, 0.6, 0.95, 0.6)} == {2}


def test_calm_removes_down_to_the_bound() -> None:
    scaler, workers = LoadScaler(2, 8), 5
    history = [workers := scaler.wanted(0.0, workers) for _ in range(5 * LOOKS_TO_REMOVE)]
    assert history[LOOKS_TO_REMOVE - 1] == 4
    assert history[-1] == min(history) == 2


def test_what_the_others_could_not_carry_calmly_is_not_removed() -> None:
    scaler = LoadScaler(1, 8)
    assert {scaler.wanted(0.4, 2) for _ in range(5 * LOOKS_TO_REMOVE)} == {2}


def test_a_number_out_of_bounds_is_brought_inside() -> None:
    assert LoadScaler(2, 4).wanted(0.6, 9) == 4
    assert LoadScaler(2, 4).wanted(0.6, 1) == 2
