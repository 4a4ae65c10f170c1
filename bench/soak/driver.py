"""The driver of faults: one after another in a seeded order, each healed and waited for before the next."""

from __future__ import annotations

import time

import psutil

from bench.soak.faults import KINDS, FaultTarget, Injected
from bench.soak.judge import LOST_BLOCKS_PER_S_MIN, RECOVERY_S_MAX, Fault
from bench.soak.registers import Payer

QUIET_S = 1.5


class Driver:
    """Goes through the kinds in a seeded order, again and again, until its time is over."""

    def __init__(
        self, target: FaultTarget, kinds: list[str], probe: Payer, recovery_s_max: float = RECOVERY_S_MAX
    ) -> None:
        self._target, self._kinds, self._probe = target, kinds, probe
        self._recovery_s_max = recovery_s_max
        self.faults: list[Fault] = []
        self.not_injected: dict[str, str] = {}

    def run(self, until_s: float, at_most_s: float) -> None:
        """Inject until `until_s` of CLOCK_MONOTONIC, and as long as a kind has not had its first turn until
        `at_most_s`; a fault under way then is healed and awaited."""
        first = True
        while self._kinds and (first or time.monotonic() < until_s):
            for name in self._target.chance.sample(self._kinds, len(self._kinds)):
                if time.monotonic() >= (at_most_s if first else until_s):
                    break
                self._inject(name)
                time.sleep(QUIET_S)
            first = False
        reached = {fault.kind for fault in self.faults}
        for name in self._kinds:
            if name not in reached:
                self.not_injected.setdefault(name, "no time was left")

    def _inject(self, name: str) -> None:
        target = self._target
        fault = Fault(name, "", time.monotonic())
        try:
            injected = KINDS[name].inject(target)
        except (LookupError, psutil.Error) as error:
            self.not_injected[name] = str(error)
            return
        fault.target = injected.target
        self.faults.append(fault)
        target.log(f"fault {name}: {injected.target}")
        time.sleep(injected.hold_s)
        fault.healed_s = time.monotonic()
        until = fault.healed_s + self._recovery_s_max + injected.blocks_lost / LOST_BLOCKS_PER_S_MIN
        fault.detail = self._healed(injected, until)
        if fault.detail:
            return
        if not self._probe.pay(until):
            fault.detail = "nothing was committed"
            return
        committed_s = time.monotonic()
        if not self._all_caught_up(until):
            fault.detail = f"heights {target.heads()}"
            return
        fault.recovered_s = committed_s
        target.log(f"  recovered after {(committed_s - fault.healed_s) * 1000:,.0f} ms")

    def _healed(self, injected: Injected, until: float) -> str:
        """Heal, again while what is to be healed does not answer; what it said last at `until`."""
        while True:
            try:
                injected.heal()
            except Exception as error:  # noqa: BLE001 -- whatever a call to a killed actor raises
                if time.monotonic() >= until:
                    return f"not healed: {str(error).strip().splitlines()[-1]}"
                time.sleep(0.5)
            else:
                return ""

    def _all_caught_up(self, until: float) -> bool:
        """Whether every node answers and reaches the highest head of now before `until`."""
        aim = max(self._target.heads())
        while time.monotonic() < until:
            if min(self._target.heads()) >= aim and all(map(self._target.answering, self._target.nodes)):
                return True
            time.sleep(0.2)
        return False
