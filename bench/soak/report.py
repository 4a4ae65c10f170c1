"""The report of a soak: one HTML page that loads nothing from elsewhere, and its data as JSON beside it."""

from __future__ import annotations

import html
import platform
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from actors.settings import Settings
from bench.results import processor
from bench.soak.faults import KINDS
from bench.soak.judge import Fault, Sample
from bench.soak.run import Soaked

VERSIONS_OF = ("ray", "numpy", "numba", "rocksdict", "pynacl")
_PALETTE = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1e23}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #d8dbe0;padding:.3rem .6rem;text-align:left;vertical-align:top}
.pass{color:#14743c;font-weight:600}.fail{color:#b3261e;font-weight:600}pre{overflow-x:auto;font-size:12px}
"""


def write_report(path: Path, soaked: Soaked, result: dict[str, Any], settings: Settings) -> Path:
    """Write PATH and PATH with the suffix .json; the page's path."""
    page = path.with_suffix(".html")
    page.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "result": result,
        "settings": settings.model_dump(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
        "machine": {"processor": processor(), "system": platform.platform()},
        "phases": [
            {"name": p.name, "begin_s": _at(soaked, p.begin_s), "end_s": _at(soaked, p.end_s)}
            for p in soaked.phases
        ],
        "faults": [_fault(soaked, fault) for fault in soaked.driver.faults],
        "findings": [{"check": f.check, "asks": f.asks, "problem": f.problem} for f in soaked.findings],
        "seconds": _seconds(soaked),
    }
    page.with_suffix(".json").write_bytes(msgspec.json.encode(data))
    page.write_text(_page(data, soaked))
    return page


def _at(soaked: Soaked, monotonic_s: float) -> float:
    """Seconds since the load began."""
    return round(monotonic_s - soaked.evidence.began_s, 2)


def _fault(soaked: Soaked, fault: Fault) -> dict[str, Any]:
    recovered_s = fault.recovered_s
    return {
        "kind": fault.kind,
        "what": KINDS[fault.kind].what,
        "target": fault.target,
        "detail": fault.detail,
        "injected_s": _at(soaked, fault.injected_s),
        "healed_s": _at(soaked, fault.healed_s),
        "recovered_s": None if recovered_s is None else _at(soaked, recovered_s),
        "recovery_ms": None if recovered_s is None else round((recovered_s - fault.healed_s) * 1000, 1),
    }


def _seconds(soaked: Soaked) -> dict[str, list[float]]:
    """By second since the load began: rows answered for, and latency percentiles by due time (ms)."""
    table = soaked.latencies
    if not len(table):
        return {"at_s": [], "tps": [], "p50_ms": [], "p99_ms": []}
    due, answered = (table[:, column] - soaked.evidence.began_s for column in (0, 1))
    last = int(max(answered.max(), due.max())) + 1
    tps = np.bincount(np.clip(answered, 0, last).astype(np.int64), weights=table[:, 2], minlength=last)
    took_ms = (table[:, 1] - table[:, 0]) * 1000
    second = np.clip(due, 0, last).astype(np.int64)
    percentiles: dict[str, list[float]] = {"p50_ms": [], "p99_ms": []}
    for at in range(last):
        own = took_ms[second == at]
        for name, share in (("p50_ms", 50), ("p99_ms", 99)):
            percentiles[name].append(round(float(np.percentile(own, share)), 2) if len(own) else 0.0)
    return {"at_s": list(range(last)), "tps": tps.tolist(), **percentiles}


def _page(data: dict[str, Any], soaked: Soaked) -> str:
    from plotly.offline import get_plotlyjs

    result = data["result"]
    verdict = result["verdict"]
    kept = {name: data[name] for name in ("settings", "versions", "machine")}
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>raychain soak: {verdict}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script>",
        f"<h1>raychain soak: <span class={verdict}>{verdict}</span></h1>",
        f"<p>{result['nodes']} nodes, {result['minutes']} minutes, seed {result['seed']}, "
        f"{result['rate_tps']:,} transactions/s offered, durability {result['durability']}; "
        f"{result['acknowledged']:,} acknowledged, {result['lost']} lost, {result['duplicated']} doubled, "
        f"{result['forks']} forks.</p>",
        "<h2>Verdict</h2>",
        _table(["check", "asks", "found"], _verdicts(data)),
        "<h2>Over time</h2>",
        _plots(data, soaked),
        "<h2>Faults</h2>",
        _table(["kind", "what", "hit", "at s", "recovery ms"], _faults(data)),
        f"<h2>Result</h2><pre>{_pretty(result)}</pre>",
        f"<h2>Configuration</h2><pre>{_pretty(kept)}</pre></html>",
    ]
    return "\n".join(parts)


def _pretty(document: dict[str, Any]) -> str:
    return html.escape(msgspec.json.format(msgspec.json.encode(document)).decode())


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _verdicts(data: dict[str, Any]) -> list[list[str]]:
    rows = []
    for finding in data["findings"]:
        problem = html.escape(finding["problem"])
        shown = f"<span class=fail>{problem}</span>" if problem else "<span class=pass>holds</span>"
        rows.append([finding["check"], html.escape(finding["asks"]), shown])
    return rows


def _faults(data: dict[str, Any]) -> list[list[str]]:
    rows = []
    for fault in data["faults"]:
        took = fault["recovery_ms"]
        shown = (
            f"{took:,.0f}" if took is not None else f"<span class=fail>{html.escape(fault['detail'])}</span>"
        )
        words = [html.escape(fault[name]) for name in ("kind", "what", "target")]
        rows.append([*words, f"{fault['injected_s']:.1f}", shown])
    return rows


def _plots(data: dict[str, Any], soaked: Soaked) -> str:
    from plotly.graph_objects import Figure
    from plotly.subplots import make_subplots

    titles = (
        "transactions/s answered for",
        "latency, ms",
        "stages, us a transaction",
        "memory, MB",
        "processor, cores",
    )
    figure: Figure = make_subplots(
        rows=5, cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.05
    )
    seconds = data["seconds"]
    _line(figure, 1, "tps", seconds["at_s"], seconds["tps"])
    _line(figure, 2, "p50", seconds["at_s"], seconds["p50_ms"])
    _line(figure, 2, "p99", seconds["at_s"], seconds["p99_ms"])
    for row in (2, 3):
        figure.update_yaxes(type="log", row=row, col=1)
    for node in sorted({node for _, node, _ in soaked.watch.stages}):
        told = [(at, stages) for at, name, stages in soaked.watch.stages if name == node]
        for stage in sorted({stage for _, stages in told for stage in stages}):
            times = [_at(soaked, at) for at, stages in told if stage in stages]
            _line(
                figure, 3, f"{node} {stage}", times, [stages[stage] for _, stages in told if stage in stages]
            )
    for actor in sorted({sample.actor for sample in soaked.watch.samples}):
        own = [sample for sample in soaked.watch.samples if sample.actor == actor]
        times = [_at(soaked, sample.at_s) for sample in own]
        _line(figure, 4, actor, times, [round(sample.rss_mb, 1) for sample in own])
        _line(figure, 5, actor, times[1:], _cores(own))
    shapes, annotations = _bands(data)
    figure.update_layout(
        template="plotly_white", height=1500, hovermode="x", colorway=_PALETTE, margin={"t": 60},
        shapes=shapes, annotations=[*figure.layout.annotations, *annotations],
    )  # fmt: skip
    figure.update_xaxes(title="seconds since the load began", row=5, col=1)
    return str(figure.to_html(full_html=False, include_plotlyjs=False))


def _bands(data: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shapes and words for the faults and the phases: through all plots, since their time is one.

    A figure that is given them one by one looks at all it has each time: minutes for the hundreds of an hour.
    """
    high = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    said = {"xref": "x", "yref": "paper", "showarrow": False, "xanchor": "left"}
    shapes: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for fault in data["faults"]:
        begin, end = fault["injected_s"], fault["recovered_s"] or fault["healed_s"]
        band = {"fillcolor": "#ff725c", "opacity": 0.18, "line": {"width": 0}, "layer": "below"}
        shapes.append({**high, **band, "type": "rect", "x0": begin, "x1": end})
        annotations.append(
            {**said, "x": begin, "y": 0.8, "text": fault["kind"], "textangle": -90, "font": {"size": 9}}
        )
    for phase in data["phases"]:
        begin = phase["begin_s"]
        line = {"color": "#888", "dash": "dot", "width": 1}
        shapes.append({**high, "type": "line", "x0": begin, "x1": begin, "line": line})
        annotations.append({**said, "x": begin, "y": 1.0, "text": phase["name"], "textangle": -20})
    return shapes, annotations


def _line(figure: Any, row: int, name: str, x: list[float], y: list[float]) -> None:
    from plotly.graph_objects import Scatter

    figure.add_trace(Scatter(x=x, y=y, name=name, mode="lines", legendgroup=name), row=row, col=1)


def _cores(samples: list[Sample]) -> list[float]:
    return [
        round(max(0.0, (b.cpu_s - a.cpu_s) / max(b.at_s - a.at_s, 1e-9)), 3) if a.pid == b.pid else 0.0
        for a, b in pairwise(samples)
    ]
