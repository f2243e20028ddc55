"""Alerts and dashboard of envoy/observability/: promtool's unit tests, and a real Prometheus that scraped a real run."""

import contextlib
import copy
import json
import math
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
import yaml

import demo
import stage
from conftest import OBSERVABILITY, free_port, otlp_gateway
from harness import FILTER, START_SECONDS, until

PROMETHEUS = Path(os.environ.get("PROMETHEUS", "/nowhere"))
pytestmark = pytest.mark.skipif(not (PROMETHEUS / "prometheus").exists(), reason="there is no Prometheus: PROMETHEUS names its folder")

ALERTS = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
TESTS = yaml.safe_load((OBSERVABILITY / "alerts.test.yaml").read_text())
DASHBOARD = json.loads((OBSERVABILITY / "dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
EMPTY = "Empty "  # with this a panel's description says when its query has no answer
COUNTED_LATER = {name for name in ("waybill_would_be_total",) if name.encode() not in FILTER.read_bytes()}  # by a newer filter


def promtool(*arguments, cwd=OBSERVABILITY):
    return subprocess.run([PROMETHEUS / "promtool", *arguments], cwd=cwd, capture_output=True, text=True)


# === alerts, by themselves ===


def test_alerts_fire_and_clear():
    for arguments in (("check", "config", "prometheus.yaml"), ("test", "rules", "alerts.test.yaml")):
        checked = promtool(*arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_has_both():
    """promtool asserts nothing of an alert that no test names."""
    seen = {name: [] for name in RULES}
    for test in TESTS["tests"]:
        for case in test["alert_rule_test"]:
            seen[case["alertname"]].append(bool(case["exp_alerts"]))
    for name, fired in seen.items():
        assert True in fired and fired[-1] is False, name


@pytest.mark.parametrize("name", RULES)
def test_each_alert_can_fail(tmp_path, name):
    """With a rule that never fires, or always does, promtool's tests fail."""
    (tmp_path / "alerts.test.yaml").write_text(yaml.safe_dump(TESTS | {"tests": [
        test for test in TESTS["tests"] if name in (case["alertname"] for case in test["alert_rule_test"])
    ]}))  # fmt: skip
    for expression in ("vector(1) > 2", f"({RULES[name]['expr']}) or on () vector(1)"):
        changed = copy.deepcopy(ALERTS)
        [rule] = [rule for group in changed["groups"] for rule in group["rules"] if rule["alert"] == name]
        rule["expr"] = expression
        (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(changed))
        assert promtool("test", "rules", "alerts.test.yaml", cwd=tmp_path).returncode == 1, expression


# === a real Prometheus ===


class Server:
    """A Prometheus with the shipped file, but for its targets and its pace."""

    def __init__(self, folder, targets):
        self.port = free_port()
        config = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(OBSERVABILITY / "alerts.yaml")]
        [job] = config["scrape_configs"]
        job["static_configs"] = [{"targets": targets}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.log = folder / "prometheus.log"
        self.command = [
            str(PROMETHEUS / "prometheus"), f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]  # fmt: skip

    def start(self, running):
        output = running.enter_context(self.log.open("w"))
        process = stage.spawn(running, self.command, stdout=output, stderr=output)
        stage.wait_until_ready(process, "Prometheus", self.port, "/-/ready", self.log)

    def ask(self, query):
        """The samples of an instant query: pairs of labels and value."""
        data = urllib.parse.urlencode({"query": query}).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query", data, timeout=10) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{query}: {error.read().decode()}")
        return [(sample["metric"], float(sample["value"][1])) for sample in found["data"]["result"]]


@pytest.fixture(scope="module")
def server(fleet, tmp_path_factory):
    """Scrapes before and after a second round of requests. The gateway with OpenTelemetry has no collector, so it loses its events."""
    with contextlib.ExitStack() as running:
        _, ports, _ = running.enter_context(otlp_gateway(tmp_path_factory.mktemp("otlp"), fleet.provider))
        targets = [*fleet.admins.values(), f"127.0.0.1:{ports['admin']}", f"127.0.0.1:{free_port()}"]
        server = Server(tmp_path_factory.mktemp("prometheus"), targets)
        server.start(running)
        until(START_SECONDS, "a first scrape of all", lambda: len(server.ask("up")) == len(targets) and server.ask("sum(up)")[0][1] == 4, server.log)
        time.sleep(2)
        fleet.again()
        headers = {"x-api-key": "sk-example", "content-type": "application/json"}
        for _ in range(10):
            stage.exchange(ports["gateway"], "POST", "/v1/messages", demo.CALL, headers)
        expected = len(fleet.events())
        until(START_SECONDS, "all that was decided", lambda: decided(server, fleet) >= expected, server.log)
        until(START_SECONDS, "lost events", lambda: any(value for _, value in server.ask("envoy_access_logs_open_telemetry_access_log_logs_dropped")), server.log)
        time.sleep(2)
        yield server


def decided(server, fleet):
    targets = "|".join(fleet.admins.values())
    return sum(value for _, value in server.ask(f'sum(waybill_requests_total{{instance=~"{targets}"}})'))


def test_prometheus_counts_what_the_log_has(server, fleet):
    """Verdicts and findings, by node, equal those of the events."""
    targets = "|".join(fleet.admins.values())
    verdicts, codes = Counter(), Counter()
    for event in fleet.events():
        verdicts[event["verdict"]] += 1
        codes.update(each["code"] for each in event["findings"])
    for metric, label, counted in (("waybill_requests_total", "verdict", verdicts), ("waybill_findings_total", "code", codes)):
        found = server.ask(f'sum by ({label}) ({metric}{{instance=~"{targets}"}})')
        assert {labels[label]: value for labels, value in found if value} == counted


def queries():
    for panel in PANELS:
        for target in panel["targets"]:
            yield pytest.param(panel, target["expr"], id=f"{panel['id']}-{target['refId']}")


@pytest.mark.parametrize(("panel", "expression"), [*queries()])
def test_each_query_of_the_dashboard_has_an_answer(server, panel, expression):
    for name, value in (("$__rate_interval", "10m"), ("$__range", "10m"), ("$instance", ".*"), ("$job", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    samples = [value for _, value in server.ask(expression) if not math.isnan(value)]
    if not samples:
        assert EMPTY in panel["description"] and any(name in expression for name in COUNTED_LATER), f"no answer: {expression}"


def test_the_dashboards_lists(server):
    """Its variables' queries, as Grafana asks them."""
    lists = {each["name"]: each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"}
    found = {}
    for name, query in lists.items():
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query.replace("$job", "waybill")).groups()
        found[name] = {labels[label] for labels, _ in server.ask(metric)}
    assert found["job"] == {"waybill"} and len(found["instance"]) == 4


def test_each_metric_of_an_alert_is_scraped(server):
    """An alert on a name that nobody writes would never fire."""
    found = {name for rule in RULES.values() for name in re.findall(r"\b(?:waybill|envoy)_\w+|\bup\b", rule["expr"])}
    assert len(found) > 8
    for name in found - COUNTED_LATER:
        assert server.ask(name), name


def test_alerts_of_a_real_run(server):
    """The target that nobody answers at is down, in a while; the gateway without a collector loses events, now; report mode lets pass."""
    until(START_SECONDS, "alerts", lambda: len(states(server)) >= 2, server.log)
    found = states(server)
    assert found.pop("WaybillNodeDown") == "pending" and found.pop("WaybillEventsLost") == "firing"
    if not COUNTED_LATER:
        assert found.pop("WaybillWouldRefuse") == "firing"  # of gateway-2
    assert set(found.values()) <= {"pending"}, found


def states(server):
    return {labels["alertname"]: labels["alertstate"] for labels, _ in server.ask("ALERTS")}


def test_the_dashboard_is_whole():
    """Each panel has a place of its own, a description and a query; nothing names a data source of ours."""
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(PANELS) > 15 and len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["description"] and panel["targets"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert {each["datasource"]["uid"] for each in (panel, *panel["targets"])} == {"${datasource}"}
