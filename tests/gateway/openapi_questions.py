"""Requests that the OpenAPI document of a node allows and forbids, asked by schemathesis."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
OPERATIONS_MIN = 26
ANSWER_TIMEOUT_S = 60
ADMINISTRATION = {("POST", "/v1/validators"), ("POST", "/v1/members"), ("POST", "/v1/maintenance")}


def ask_everything(url: str, examples: int, administer: bool = True) -> None:
    """Every operation of the node at `url`, `examples` times with valid and with invalid requests.

    Without `administer` nothing is asked that would change the node itself. Fails for a 5xx, and for an
    answer that is not as the document says. That valid requests succeed is not asked, for nobody signs what
    is made up.
    """
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= OPERATIONS_MIN
    changes = [each for each in operations if (each.method.upper(), each.path) in ADMINISTRATION]
    assert len(changes) == len(ADMINISTRATION)
    for operation in operations if administer else [each for each in operations if each not in changes]:
        _ask(operation, schemathesis.GenerationMode.POSITIVE, examples)
        # An operation without any input has no invalid requests.
        with contextlib.suppress(Unsatisfiable):
            _ask(operation, schemathesis.GenerationMode.NEGATIVE, examples)


def _ask(operation: Any, mode: Any, examples: int) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        case.call_and_validate(timeout=ANSWER_TIMEOUT_S, excluded_checks=[positive_data_acceptance])

    once()
