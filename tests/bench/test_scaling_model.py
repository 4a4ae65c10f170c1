"""The scaling model: each resource limits where it should, and more of anything never costs throughput."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scaling_model import Costs, Site, capacities, predict, predict_run, write_plot

COSTS = Costs(validator_us=20.0, state_us=2.0, disk_us=1.0, coordination_us=1.0, chunk_rows=2000)
SITE = Site(validators=1, hosts=1, cores_per_host=16, calls_per_s=2500, link_gbit=10)


def test_a_single_worker_is_the_limit_and_then_the_state() -> None:
    assert predict(COSTS, SITE) == (50_000, "validators")
    assert predict(COSTS, replace(SITE, validators=2)) == (100_000, "validators")
    assert predict(COSTS, replace(SITE, validators=64, hosts=16)) == (500_000, "state")


def test_each_resource_can_be_the_limit() -> None:
    crowded = replace(SITE, validators=4, cores_per_host=2)
    assert predict(COSTS, crowded)[0] == pytest.approx(2e6 / 24)
    assert predict(COSTS, crowded)[1] == "cores"
    wide = replace(SITE, validators=64, hosts=16)
    assert predict(COSTS, replace(wide, calls_per_s=100))[1] == "calls"
    assert predict(COSTS, replace(wide, link_gbit=0.1))[1] == "network"
    assert predict(replace(COSTS, disk_us=9.0), wide)[1] == "disk"
    assert predict(replace(COSTS, coordination_us=9.0), wide)[1] == "coordination"
    assert "network" not in capacities(COSTS, SITE)
    assert capacities(COSTS, replace(SITE, hosts=16)) == capacities(COSTS, SITE)


def test_a_run_of_few_blocks_pays_for_filling_the_pipeline() -> None:
    assert predict_run(COSTS, SITE, 1)[0] == pytest.approx(1e6 / 22)
    assert predict_run(COSTS, SITE, 1_000_000)[0] == pytest.approx(predict(COSTS, SITE)[0], rel=1e-4)
    assert predict_run(COSTS, SITE, 4)[1] == "validators"


costs = st.builds(Costs, *[st.floats(0.01, 100.0)] * 4, st.integers(1, 10_000))
sites = st.builds(
    Site, st.integers(1, 64), st.integers(1, 16), st.integers(1, 64), st.floats(1, 1e5), st.floats(0.1, 400)
)


@given(costs, sites)
def test_more_of_one_resource_never_costs_throughput(cost: Costs, site: Site) -> None:
    tps, limit = predict(cost, site)
    assert tps > 0
    assert capacities(cost, site)[limit] == tps
    for more in (
        replace(site, cores_per_host=site.cores_per_host + 1),
        replace(site, calls_per_s=2 * site.calls_per_s),
        replace(site, link_gbit=2 * site.link_gbit),
    ):
        assert predict(cost, more)[0] >= tps
    one_host = replace(site, hosts=1)
    assert predict(cost, replace(one_host, validators=64))[0] >= predict(cost, one_host)[0]


def test_the_plot_is_one_page_that_loads_nothing(tmp_path: Path) -> None:
    figures = pytest.importorskip("plotly.graph_objects")
    table = [{"hosts": h, "validators": v, "tps": v * 1000, "limit": "state"} for h in (1, 2) for v in (1, 2)]
    write_plot(figures, tmp_path / "plot.html", table)
    page = (tmp_path / "plot.html").read_text()
    assert "limited by state" in page
    assert '<script src="http' not in page
