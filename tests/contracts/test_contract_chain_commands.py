"""`node.py contract` against a served node: deploy, call, simulate, state, events, verify."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cli.contracts.authoring import EXAMPLES
from tests.contracts.command_answers import said, told
from tests.gateway.gateway_fake_node import SENDERS
from tests.gateway.gateway_proving_node import ProvingNode
from tests.gateway.gateway_served import Served

README = Path(__file__).parents[2] / "README.md"
ALICE, BOB = SENDERS[0].public_key.hex(), SENDERS[1].public_key.hex()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = Served(ProvingNode())
    with running.making_blocks():
        yield running
    running.stop()
    assert running.faults == []


@pytest.fixture(autouse=True)
def gateway(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCHAIN_URL", served.url)
    monkeypatch.setenv("RAYCHAIN_HOME", str(tmp_path / "home"))


def deployed(name: str, *options: str) -> str:
    return str(told("deploy", EXAMPLES / f"{name}.py", *options)["address"])


def test_a_newcomer_is_led_from_an_empty_folder_to_a_proven_state(tmp_path: Path) -> None:
    told("new", "tally", "--folder", tmp_path)
    source = tmp_path / "tally.py"
    assert f"Next: node.py contract test {source}" in said("check", source)
    deployment = said("deploy", source)
    assert "Tally is deployed, in block" in deployment
    following = deployment.partition("Next: node.py contract ")[2].split()
    assert following[0] == "call"
    assert following[2:] == ["add", "by=5"]
    called = said(*following)
    assert "add went through, in block" in called
    assert f"Counted(who={ALICE[:16]}…, by=5)" in called
    following = called.partition("Next: node.py contract ")[2].split()
    assert following[0] == "state"
    state = said(*following)
    assert "Tally at height" in state
    assert "total=5" in state
    following = state.partition("Next: node.py contract ")[2].split()
    assert following[2:] == ["counts", "development:0"]
    assert f"counts[{ALICE}] is 5 at height" in said(*following)


def test_the_commands_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = README.read_text().partition("### Contracts")[2].partition("\n### ")[0]
    commands = re.findall(r"^uv run node.py contract ([^#\n]+)", section, re.MULTILINE)
    assert len(commands) == 8
    monkeypatch.chdir(tmp_path)
    address = "ADDRESS"
    for command in commands:
        arguments = command.replace("ADDRESS", address).split()
        if arguments[0] != "test":
            answer = told(*arguments)
            address = str(answer.get("address", address))


def test_the_same_as_json() -> None:
    contract = told("deploy", EXAMPLES / "counter.py")
    assert contract["contract"] == "Counter"
    assert contract["fee"] > 0
    assert contract["genesis_trust"] == "node"
    address = contract["address"]
    called = told("call", address, "add", "by=7", "--key", "development:1")
    assert (called["status"], called["results"]) == ("ok", {})
    assert [(event["name"], event["fields"]) for event in called["events"]] == [
        ("Counted", {"who": BOB, "by": 7})
    ]
    viewed = told("call", address, "count_of", f"who={BOB}")
    assert (viewed["status"], viewed["results"]) == ("view", {"value": 7})
    state = told("state", address)
    assert (state["cells"], state["coins"], state["verified"]) == ({"total": 7}, 0, True)
    row = told("state", address, "counts", "development:1")
    assert (row["keys"], row["row"], row["exists"]) == ([BOB], {"value": 7}, True)
    absent = told("state", address, "counts", ALICE)
    assert (absent["row"], absent["exists"], absent["verified"]) == ({"value": 0}, False, True)


def test_arguments_of_a_deployment_and_results_of_a_call() -> None:
    address = deployed("token", "--arg", "supply=1_000".replace("_", ""))
    assert told("call", address, "transfer", "to=development:1", "amount=250")["results"] == {"value": True}
    assert "returned true" in said("call", address, "transfer", f"to={BOB}", "amount=1")
    assert "balance_of is 251" in said("call", address, "balance_of", "who=development:1")
    given = ("approve", f"spender={BOB}", "amount=1")
    assert f"Next: node.py contract call {address} {' '.join(given)}" in said("simulate", address, *given)


def test_what_would_fail_is_not_sent_and_what_is_sent_all_the_same_pays(served: Served) -> None:
    address = deployed("counter")
    height = served.node.height
    refused = said("call", address, "add", "by=1001", code=2)
    assert "nothing was sent: add would fail: a step is 1 to 1000 (REQUIREMENT)" in refused
    simulated = told("simulate", address, "add", "by=1001", code=1)
    assert (simulated["status"], simulated["failure"]) == ("would fail", "REQUIREMENT")
    assert served.node.height == height
    failed = told("call", address, "add", "by=1001", "--no-simulate", "--gas", "10000", code=1)
    assert (failed["status"], failed["message"]) == ("failed", "a step is 1 to 1000")
    assert failed["height"] == height + 1
    assert "--gas" in said("call", address, "add", "by=1", "--no-simulate", code=2)
    unfinished = told("call", address, "add", "by=1", "--no-simulate", "--gas", "1", code=1)
    assert unfinished["failure"] == "OUT_OF_GAS"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["add", "5"], ["'5' has no name", "by: u64", "write by=5"]),
        (["add"], ["by is missing", "by: u64", "by=5"]),
        (["add", "by=many"], ["by: got 'many'", "u64", "as in by=5"]),
        (["add", "by=1", "by=2"], ["by is given twice"]),
        (["add", "to=1"], ["no parameter 'to'", "by: u64"]),
        (["increment", "by=1"], ["Counter has no function 'increment'", "add, value, count_of"]),
        (["count_of", "who=nobody"], ["who: 'nobody' is no Address", "as in who=development:1"]),
        (["value", "x=1"], ["it takes no arguments"]),
        (["add", "by=1", "--coins", "5"], ["nothing was sent", "TAKES_NO_COINS"]),
        (
            ["add", "by=1", "--key", "development:99"],
            ["development:99 has 0 coins and cannot pay", "--key NAME"],
        ),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(given: list[str], words: list[str]) -> None:
    answer = said("call", deployed("counter"), *given, code=2)
    for word in words:
        assert word in answer
    assert "Traceback" not in answer


def test_other_mistakes(tmp_path: Path) -> None:
    assert "expected 64 hex digits" in said("state", "12", code=2)
    assert "no contract at" in said("state", "ab" * 32, code=2)
    address = deployed("counter")
    assert "Counter has no table 'sum'; it has total, counts" in said("state", address, "sum", code=2)
    assert "0 keys given, the table has 1: Address" in said("state", address, "counts", code=2)
    assert "Counter has no event 'Gone'" in said("events", address, "--event", "Gone", code=2)
    assert "supply is missing" in said("deploy", EXAMPLES / "token.py", code=2)
    assert "takes no arguments" in said("deploy", EXAMPLES / "counter.py", "--arg", "x=1", code=2)
    poor = said("deploy", EXAMPLES / "counter.py", "--key", "development:99", code=2)
    assert "development:99 has 0 coins and needs" in poor
    broken = tmp_path / "broken.py"
    broken.write_text("class Broken:\n    pass\n")
    assert told("deploy", broken, code=1)["passed"] is False


def test_events_since_the_deployment() -> None:
    address = deployed("token", "--arg", "supply=100")
    for amount in (1, 2):
        told("call", address, "transfer", "to=development:1", f"amount={amount}")
    told("call", address, "approve", "spender=development:2", "amount=9")
    listed = told("events", address)
    assert [each["name"] for each in listed["events"]] == ["Transfer", "Transfer", "Transfer", "Approval"]
    assert [each["fields"]["amount"] for each in listed["events"]] == [100, 1, 2, 9]
    assert listed["complete"] is True
    some = told("events", address, "--event", "Transfer", "--first", "development:0")
    assert [each["fields"]["amount"] for each in some["events"]] == [1, 2]
    last = listed["events"][-1]["height"]
    assert told("events", address, "--from-height", str(last))["count"] == 1
    text = said("events", address)
    assert "Token told 4 events in the blocks" in text
    assert f"Transfer(sender={ALICE[:16]}…, recipient={BOB[:16]}…, amount=2)" in text


def test_a_source_is_verified_or_not(tmp_path: Path) -> None:
    address = deployed("counter")
    same = told("verify", address, EXAMPLES / "counter.py")
    assert (same["verified"], same["same_source"]) == (True, True)
    assert told("verify", address)["same_source"] is True
    commented = tmp_path / "counter.py"
    commented.write_text((EXAMPLES / "counter.py").read_text() + "\n# another comment\n")
    other = told("verify", address, commented)
    assert (other["verified"], other["same_source"]) == (True, False)
    assert "not the very text that was deployed" in said("verify", address, commented)
    commented.write_text((EXAMPLES / "counter.py").read_text().replace("u64(1_000)", "u64(1_001)"))
    assert told("verify", address, commented, code=1)["verified"] is False
    assert "not verified" in said("verify", address, commented, code=1)
