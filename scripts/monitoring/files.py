"""The files of packaging/ as data, and what can be wrong with them before anything runs."""

import json
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "packaging/prometheus"
METRIC = re.compile(r"\b(?:humble_broker|process|tokio)_[a-z_]+\b|\bup\b")
# What Grafana replaces. The interval is some scrapes long, as Grafana's is.
VARIABLES = {"$instance": ".+", "$__rate_interval": "10s", "$__range": "1m"}

alerts = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
dashboard = json.loads((ROOT / "packaging/grafana/dashboard.json").read_text())
panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def concrete(expression):
    """The expression as Grafana would send it, with all nodes chosen."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, f"what does Grafana replace here? {expression}"
    return expression


def queries():
    """(panel's title, expression, legend) of every query of the dashboard."""
    return [
        (panel["title"], concrete(target["expr"]), target["legendFormat"])
        for panel in panels
        for target in panel["targets"]
    ]


def promtool(*arguments):
    subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, check=True, timeout=60)


def check():
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")
    promtool("check", "config", "../container/prometheus.yml")
    promtool("test", "rules", "alerts_test.yml")
    assert alerts, "there are no alerts"
    assert panels, "the dashboard has no panels"
    each_alert_is_tested_both_ways()
    each_alert_has_a_section_in_the_runbook()
    each_label_value_is_one_that_the_broker_knows()
    the_panels_do_not_overlap()


def each_alert_is_tested_both_ways():
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fires, rests = set(), set()
    for test in tests:
        for case in test["alert_rule_test"]:
            (fires if case["exp_alerts"] else rests).add(case["alertname"])
    names = {rule["alert"] for rule in alerts}
    assert fires == names, f"no test has these fire, or no such alert: {fires ^ names}"
    assert rests == names, f"no test has these rest, or no such alert: {rests ^ names}"


def each_alert_has_a_section_in_the_runbook():
    runbook = ROOT / "docs/operations.md"
    headings = re.findall(r"^#+ (\w+)$", runbook.read_text(), re.MULTILINE)
    for rule in alerts:
        assert rule["alert"] in headings, f"{runbook} has no section {rule['alert']}"
        link = f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == link, f"{rule['alert']} should link to {link}"


def each_label_value_is_one_that_the_broker_knows():
    """Else an alert could wait for ever for a reason that does not exist."""
    known = (ROOT / "docs/metrics.md").read_text()
    expressions = [rule["expr"] for rule in alerts] + [expression for _, expression, _ in queries()]
    found = re.findall(r'\b(?:reason|outcome|event|transport|route)\s*[!=]=?~?\s*"([^"]+)"', "\n".join(expressions))
    assert found, "no expression chooses by a label"
    for value in "|".join(found).split("|"):
        assert f"`{value}`" in known, f"docs/metrics.md does not know the label's value {value}"


def the_panels_do_not_overlap():
    taken = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, f"{panel['title']} is too wide"
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            other = taken.setdefault(cell, panel["title"])
            assert other == panel["title"], f"{panel['title']} lies on {other}"
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers), "two panels have the same id"
