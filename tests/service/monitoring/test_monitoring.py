"""The dashboard and the alerts: each of their queries is about what a server tells."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ledgercore.service.monitoring.prometheus import encode_metrics
from tests.support.totals_making import make_totals

MONITORING = Path(__file__).resolve().parents[3] / "docs/monitoring"
# What Prometheus itself adds to everything that it reads, and tells of whom it reads.
ADDED = {"instance", "job"}
OTHERS = {"up": ADDED}
COUNTING = {"rate", "increase", "resets"}
# Grafana's own, in the place of a duration.
INTERVAL = "$__rate_interval"
SELECTOR = re.compile(r"(?:(\w+)\s*\(\s*)?\b(ledgercore_\w+|up)\b(?:\{([^}]*)\})?(\[[^]]+\])?")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


class Told(NamedTuple):
    """A sample that a server tells: the type of its metric, and its labels."""

    type: str
    labels: set[str]


def read_told() -> dict[str, Told]:
    answers = {("/transfer", 201, "applied"): 1}
    totals = make_totals(1, answers, {"/transfer": [5]}, breaker="closed")
    told: dict[str, Told] = {}
    for family in text_string_to_metric_families(encode_metrics(totals)[0].decode()):
        for sample in family.samples:
            told.setdefault(sample.name, Told(family.type, set())).labels.update(sample.labels)
    return told


TOLD = read_told()


def complain(expr: str) -> Iterator[str]:
    """Yield what is wrong with a query: names, labels, and what is done with which type."""
    known = set(ADDED)
    found = list(SELECTOR.finditer(expr))
    if not found:
        yield "asks for nothing"
    for function, name, selector, window in (match.groups() for match in found):
        told = TOLD.get(name)
        if told is None and name not in OTHERS:
            yield f"{name} is not told"
            continue
        labels = told.labels | ADDED if told else OTHERS[name]
        known |= labels
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector or ""))
        yield from (f"{name} has no label {label}" for label in used - labels)
        is_counted = told is not None and told.type in ("counter", "histogram")
        if is_counted and function not in COUNTING:
            yield f"{name} only grows, and is not asked for its rate"
        if not is_counted and function in COUNTING:
            yield f"{name} goes up and down, and has no {function}"
        if is_counted and window is None:
            yield f"{name} has no window"
    for group in GROUPING.findall(expr):
        labels = {label.strip() for label in group.split(",")}
        yield from (f"groups by {label}, which nothing has" for label in labels - known)
    yield from complain_of_quantiles(expr)


def complain_of_quantiles(expr: str) -> Iterator[str]:
    """Yield where buckets and quantiles do not go together."""
    buckets = re.findall(r"ledgercore_\w+_bucket", expr)
    quantiles = re.findall(
        r"histogram_quantile\(\s*0\.\d+,\s*sum by \(([^)]*)\)\s*\(rate\(ledgercore_\w+_bucket", expr
    )
    if len(buckets) != len(quantiles) or len(quantiles) != expr.count("histogram_quantile"):
        yield "histogram_quantile is not over the rate of buckets, or buckets are without it"
    for labels in quantiles:
        if "le" not in labels.replace(" ", "").split(","):
            yield "a quantile has lost the label le"


def read_dashboard() -> Any:
    return json.loads((MONITORING / "dashboard.json").read_text())


def list_panels() -> list[dict[str, Any]]:
    return [panel for panel in read_dashboard()["panels"] if panel["type"] != "row"]


def list_rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


PANEL_QUERIES = [
    (panel["title"], target["expr"]) for panel in list_panels() for target in panel["targets"]
]
QUERIES = PANEL_QUERIES + [(rule["alert"], rule["expr"]) for rule in list_rules()]


@pytest.mark.parametrize(("title", "expr"), QUERIES)
def test_query_is_about_what_is_told(title: str, expr: str) -> None:
    assert list(complain(expr)) == []
    # Whatever else is wrong, Prometheus would not even read it.
    for opening, closing in ("()", "{}", "[]"):
        assert expr.count(opening) == expr.count(closing), title
    assert expr.count('"') % 2 == 0


WRONG = [
    ("ledgercore_nothing", "is not told"),
    ("rate(ledgercore_requests[5m])", "is not told"),
    ("rate(ledgercore_keys[5m])", "goes up and down"),
    ("ledgercore_requests_total", "only grows"),
    ("rate(ledgercore_requests_total)", "has no window"),
    ('rate(ledgercore_requests_total{path="/"}[5m])', "has no label path"),
    ("sum by (segment) (rate(ledgercore_requests_total[5m]))", "groups by segment"),
    ("sum(rate(ledgercore_journal_sync_seconds_bucket[5m]))", "histogram_quantile"),
    ("histogram_quantile(0.9, ledgercore_keys)", "histogram_quantile"),
    (
        (
            "histogram_quantile(0.9, sum by (instance)"
            " (rate(ledgercore_journal_sync_seconds_bucket[5m])))"
        ),
        "has lost the label le",
    ),
    ("1 + 1", "asks for nothing"),
]


@pytest.mark.parametrize(("expr", "fault"), WRONG)
def test_wrong_query_is_found(expr: str, fault: str) -> None:
    assert any(fault in found for found in complain(expr)), list(complain(expr))


def test_everything_that_is_told_is_on_the_dashboard() -> None:
    shown = " ".join(expr for _, expr in PANEL_QUERIES)
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in TOLD}
    assert {name for name in families if name not in shown} == {"ledgercore_build_info"}


def test_legends_name_labels_that_their_series_have() -> None:
    for panel in list_panels():
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                grouped = GROUPING.findall(target["expr"])
                is_there = any(label in group for group in grouped) if grouped else label in ADDED
                assert is_there, (panel["title"], label)


def test_dashboard_can_be_imported() -> None:
    dashboard = read_dashboard()
    assert dashboard["id"] is None and dashboard["schemaVersion"] >= 38
    (source,) = dashboard["__inputs"]
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert names == {"source", "instance"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    for panel in list_panels():
        assert panel["datasource"]["uid"] == "${source}"
        for target in panel["targets"]:
            assert set(re.findall(r"\$\w+", target["expr"])) <= {"$instance", INTERVAL}
            assert 'instance=~"$instance"' in target["expr"]
    assert source["pluginId"] == "prometheus"


def test_rules_say_what_is_wrong_and_what_to_do() -> None:
    rules = list_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 9
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        annotations = rule["annotations"]
        assert "$labels.instance" in annotations["summary"], rule["alert"]
        assert len(annotations["description"]) > 60, rule["alert"]
