"""The files in envoy/ as they are shipped: what goes on to the provider, and what doesn't get past them."""

import itertools
import json
import subprocess

import pytest
import yaml

import hosts  # of envoy/
import wire
from harness import ROOT, WAYBILL, assert_unharmed
from shipped import ALONE, CHINA, DOORS, OWN_KEY, PROVIDERS_OWN, SINGAPORE, Shipped

BALANCER = {  # what load balancers, CDNs and Envoy's own neighbours add: whom the customer is, and what anybody may know
    "forwarded": f"for={SINGAPORE};host=lotus.gateway.acme.example",
    "x-forwarded-host": "lotus.gateway.acme.example",
    "x-envoy-external-address": SINGAPORE,
    "x-envoy-original-host": "lotus.gateway.acme.example",
    "x-original-forwarded-for": SINGAPORE,
    "x-real-ip": SINGAPORE,
    "x-client-ip": SINGAPORE,
    "x-cluster-client-ip": SINGAPORE,
    "true-client-ip": SINGAPORE,
    "cf-connecting-ip": SINGAPORE,
    "cf-connecting-ipv6": "2001:db8::9",
    "cf-pseudo-ipv4": SINGAPORE,
    "fastly-client-ip": SINGAPORE,
    "fly-client-ip": SINGAPORE,
    "x-azure-clientip": SINGAPORE,
    "x-azure-socketip": SINGAPORE,
    "x-appengine-user-ip": SINGAPORE,
    "x-vercel-forwarded-for": SINGAPORE,
    "cloudfront-viewer-address": f"{SINGAPORE}:4711",
    "x-forwarded-proto": "https",
    "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
    "x-request-id": "6f1e1f7e-0000-4000-8000-000000000000",
}
SDK = {  # what the vendors' SDKs send, and a customer that has another vendor's settings in its environment
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "files-api-2025-04-14",
    "content-type": "application/json",
    "user-agent": "Anthropic/Python 0.75.0",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "idempotency-key": "stainless-python-retry-1",
    "openai-beta": "assistants=v2",
    "x-user-country": "SG",
    "api-key": "sk-c-1",
    "x-litellm-api-key": "Bearer sk-c-1",
    "openai-organization": "org-1",
    "openai-project": "proj_1",
    "anthropic-workspace-id": "wrkspc_1",
    "anthropic-organization-id": "org-1",
    "x-goog-user-project": "p-1",
    "x-somebody-elses": "kept",
}
# what may arrive: of the SDKs' headers, of the balancer's, Envoy's own and the node's
PASSES = {
    "accept", "accept-encoding", "anthropic-version", "anthropic-beta", "content-type", "user-agent", "x-stainless-lang", "x-stainless-os",
    "idempotency-key", "openai-beta", "x-user-country", "x-somebody-elses", "x-forwarded-proto", "x-amzn-trace-id", "x-request-id",
    "host", "content-length", "compliance-tag",
}  # fmt: skip
ACCOUNTS = {"openai-organization", "openai-project", "anthropic-workspace-id", "anthropic-organization-id", "x-goog-user-project"}
SIGNED = {"compliance-chain", "signature-input", "signature"}
OF_FILE = {  # beside those
    "edge": {"x-api-key", "anthropic-user-profile-id"},
    "openai": {"authorization", "openai-safety-identifier"},
    "transit": {"x-api-key", "compliance-trail"} | SIGNED,
    "ingress": ACCOUNTS | {"x-api-key"},
    "snapshot": {"x-api-key", "anthropic-user-profile-id"},
    "demo": {"x-api-key", "anthropic-user-profile-id"},
    "chain-b": {"x-api-key", "x-forwarded-for"} | SIGNED,
    "chain-c": {"x-api-key", "x-forwarded-for"} | SIGNED,
    "chain-a": {"x-api-key", "x-forwarded-for", "compliance-trail"} | SIGNED,
    "chain-provider": ACCOUNTS | {"x-api-key"},
}
RESELLERS_KEY = "sk-of-a-reseller-at-its-provider"


@pytest.fixture(scope="module")
def lab(upstream, tmp_path_factory):
    """All doors as shipped."""
    with Shipped(tmp_path_factory.mktemp("shipped"), [*DOORS, *ALONE], upstream) as lab:
        yield lab
        assert_unharmed(lab)


def headers(received):
    return {name.lower(): value for name, value in received["headers"]}


@pytest.mark.parametrize("door", [*DOORS, *ALONE], ids=lambda door: door.name)
def test_what_goes_on(lab, door):
    """Exactly what is listed: no address of the customer's, no name that it called, no key of its own."""
    beside = {**SDK, **BALANCER}
    own = door.name.removesuffix("-alone")
    if own in PROVIDERS_OWN:
        beside["x-api-key"] = RESELLERS_KEY
    host = None if door.by else "lotus.gateway.acme.example"
    played = lab.send(door.name, lab.call(door.name, headers=[*beside.items()], host=host), method="POST")
    assert played.response.status == 200, played.event
    arrived = headers(played.received)
    assert set(arrived) == PASSES | OF_FILE[own]
    text = str(arrived.values())
    assert SINGAPORE not in text and "lotus" not in text
    assert "sk-c-1" not in text and "sk-r-77" not in text
    if own in PROVIDERS_OWN:
        assert arrived["x-api-key"] == RESELLERS_KEY
    else:
        assert arrived.get("x-api-key", arrived.get("authorization", "")).removeprefix("Bearer ") == OWN_KEY


@pytest.mark.parametrize("door", ["ingress", "chain-provider"])
def test_a_resellers_bearer_token_goes_on_at_a_provider(lab, door):
    played = lab.send(door, lab.call(door, headers=[["authorization", f"Bearer {RESELLERS_KEY}"]]), method="POST")
    assert (played.response.status, headers(played.received)["authorization"]) == (200, f"Bearer {RESELLERS_KEY}")


@pytest.mark.parametrize("door", [*DOORS, *ALONE], ids=lambda door: door.name)
def test_headers_have_a_bound(lab, door):
    """32 kB, before the filter reads anything."""
    assert lab.send(door.name, lab.call(door.name, headers=[["x-long", "a" * 24_000]]), method="POST").response.status == 200
    refused = lab.send(door.name, lab.call(door.name, headers=[["x-long", "a" * 33_000]]), method="POST")
    assert (refused.response.status, refused.event, refused.received) == (431, None, None)


@pytest.mark.parametrize("door", [*DOORS, *ALONE], ids=lambda door: door.name)
def test_trace_is_refused(lab, door):
    played = lab.send(door.name, lab.call(door.name, method="TRACE"), method="TRACE")
    assert (played.response.status, played.received) == (405, None)
    assert "POST" in played.response.header("allow")


# what a caller in China may write: elements of its own, in front of the address that the load balancer adds
OWN = ["", "unknown", "10.1.1.1", "127.0.0.1", SINGAPORE, f"{SINGAPORE}:80", "::ffff:127.0.0.5", '"', "for=1.2.3.4", "a" * 300]
FORMS = [  # and how the operator's proxies may write that address
    CHINA, f"{CHINA}:4711", f"[::ffff:{CHINA}]", f"[::ffff:{CHINA}]:80", f"::ffff:{CHINA}", "2002:7272:7272::1",
    f"64:ff9b::{CHINA}", f"::ffff:0:{CHINA}", "2001:0:102:304:8000:1:8d8d:8d8d", f"  {CHINA}\t",
]  # fmt: skip
PROXIES = ["", ", 127.0.0.5", ", ::ffff:127.0.0.5", ", 127.0.0.5:80", ", [::ffff:127.0.0.5]", ",127.0.0.5, 127.0.0.6"]


def refused_everywhere(lab, door, lines, beside=()):
    more = [["x-forwarded-for", line] for line in lines]
    played = lab.send(door, lab.call(door, headers=[*more, *beside], address=None), method="POST")
    codes = [finding["code"] for finding in played.event["findings"]]
    assert {"geo.restricted", "geo.disputed"} & set(codes), (lines, played.event)
    if door == "chain-b" and "geo.restricted" in codes:
        return  # the demo's reseller that can't do otherwise, and says so
    assert played.received is None and played.response.status == 403, (lines, played.event)


@pytest.mark.parametrize("door", [door.name for door in DOORS])
def test_nothing_that_a_restricted_caller_writes_lets_it_pass(lab, door):
    for form, proxies in itertools.product(FORMS, PROXIES):
        refused_everywhere(lab, door, [form + proxies])
    for own in OWN:
        for count in (0, 1, 2, 18, 19, 20, 21, 40, 59):
            refused_everywhere(lab, door, [", ".join([own] * count + [CHINA])])
            refused_everywhere(lab, door, [own] * min(count, 40) + [CHINA])
        refused_everywhere(lab, door, [f"{own}, {CHINA}", "127.0.0.5"])
    for own in (f"for={SINGAPORE}", 'for="[2001:db8::1]"', "for=unknown", f"for={SINGAPORE}, for=10.0.0.1"):
        refused_everywhere(lab, door, [CHINA], [["forwarded", own]])


@pytest.mark.parametrize("door", [door.name for door in DOORS])
@pytest.mark.parametrize("element", ["unknown", "_hidden", f"{CHINA}:99999", f'"{CHINA}"', "fe80::1%eth0", "1.2.3", "%", "1" * 200])
def test_no_address_where_a_proxy_wrote_it_is_an_unknown_one(lab, door, element):
    """It reports; edge.yaml says how to refuse it."""
    played = lab.send(door, lab.call(door, address=f"{element}, 127.0.0.5"), method="POST")
    codes = {finding["code"]: finding["evidence"] for finding in played.event["findings"]}
    assert codes["geo.unknown"] == "the client's address is malformed" and "geo.disputed" not in codes
    assert (played.response.status, played.event["address"], played.event["network"]) == (200, None, None)
    assert "network=" not in headers(played.received)["compliance-tag"]


def test_a_written_address_passes(lab):
    for door in DOORS:
        for line in (SINGAPORE, f"{SINGAPORE}, 127.0.0.5", f"unknown, {SINGAPORE}", f"{CHINA}, {SINGAPORE}, 127.0.0.5"):
            played = lab.send(door.name, lab.call(door.name, address=line), method="POST")
            assert played.response.status == 200, (door.name, line, played.event)


def test_account_apis_of_all_vendors_at_the_demo(lab):
    """Its routes lead to two vendors. Paths are brought into one form before one is chosen."""
    for path in (
        "/v1/organizations", "/v1/organization/projects", "/v1/chat/../organization/projects", "/v1/projects/p-1", "/v1/./organization",
        "/v1//organization/users", "/v1/chat/%2e%2e/organization/projects", "/v1/chat/%2E./organization", "/v1/chat%2f..%2forganization",
        "/v1/%6frganization", "/v1/%25%36frganization",
    ):  # fmt: skip
        played = lab.send("demo", lab.call("demo", path, method="GET"))
        assert played.received is None and played.response.status in (400, 403), path


@pytest.mark.parametrize("door", [door for door in [*DOORS, *ALONE] if door.name.removesuffix("-alone") not in PROVIDERS_OWN], ids=lambda door: door.name)
def test_no_account_api_behind_an_injected_credential(lab, door):
    api = "organization" if door.name.startswith("openai") else "organizations"
    for path in (f"/v1/{api}", f"/v1/messages/../{api}/x", f"/v1/%6f{api[1:]}", f"/v1//{api}"):
        played = lab.send(door.name, lab.call(door.name, path, method="GET"))
        assert (played.response.status, played.received, played.event["reason"]) == (403, None, "provider.admin-path"), path


def test_shared_state_at_the_demo_reports(lab):
    for path in ("/v1/files", "/v1/messages/batches", "/v1/responses/resp_1"):
        played = lab.send("demo", lab.call("demo", path, method="GET"))
        assert (played.response.status, played.event["reason"]) == (200, "provider.shared-state"), path


WITH_WASM = [path for path in sorted((ROOT / "envoy").glob("*.yaml")) if path.name != "module.yaml"]


def test_what_each_node_has_around_it():
    """As `waybill check` wants it at each way to an injected credential; the node at a provider's own door has it too."""
    count = 0
    for path in WITH_WASM:
        for manager in managers(yaml.safe_load(path.read_text())):
            count += 1
            assert (manager["normalize_path"], manager["path_with_escaped_slashes_action"]) == (True, "REJECT_REQUEST")
            [early] = manager["early_header_mutation_extensions"]
            assert early["typed_config"]["mutations"] == [{"remove": "x-waybill-route"}]
            [wasm] = [each["typed_config"]["config"] for each in manager["http_filters"] if each["name"] == "waybill"]
            assert (wasm["failure_policy"], wasm["reload_config"]) == ("FAIL_RELOAD", {"backoff": {"base_interval": "0.1s"}})
            config = json.loads(wasm["configuration"]["value"])
            if "header" in config["geo"]["origin"][0]:
                [detection] = manager["original_ip_detection_extensions"]
                networks = [f"{each['address_prefix']}/{each['prefix_len']}" for each in detection["typed_config"]["xff_trusted_cidrs"]["cidrs"]]
                assert networks == config["client_address"]["trusted_proxies"]
    assert count == len(DOORS)


def test_one_list_of_what_the_provider_may_not_see():
    """Each file has the same, and takes it off on every route."""
    lists = []
    for path in WITH_WASM:
        document = yaml.safe_load(path.read_text())
        for manager in managers(document):
            lists.append(manager["route_config"].get("request_headers_to_remove") or manager["route_config"]["virtual_hosts"][0]["request_headers_to_remove"])
            assert manager["max_request_headers_kb"] == 32
            [router] = [each["typed_config"] for each in manager["http_filters"] if each["name"].endswith("router")]
            assert router["suppress_envoy_headers"] is True
    assert len(lists) == len(DOORS) and all(each == lists[0] for each in lists)
    assert "x-forwarded-for" in lists[0] and set(lists[0]) - {"x-waybill-route", "x-forwarded-for"} <= set(BALANCER)


def test_the_module_s_file_is_the_wasm_one_with_another_filter():
    """What differs is what docs/hosts.md names."""
    wasm, module = (yaml.safe_load((ROOT / "envoy" / f"{name}.yaml").read_text()) for name in ("snapshot", "module"))
    assert read_settings(hosts.as_module(wasm)) == read_settings(module)


def read_settings(part):
    """The document with the node's configuration read, not as text."""
    if isinstance(part, list):
        return [read_settings(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("@type", "").endswith("google.protobuf.StringValue"):
        return json.loads(part["value"])
    return {name: read_settings(each) for name, each in part.items()}


@pytest.mark.parametrize("name", sorted({door.file for door in DOORS}))
def test_check_passes_each_file_with_the_module(tmp_path, name):
    """As it passes the file itself."""
    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(hosts.as_module(yaml.safe_load((ROOT / "envoy" / file.name).read_text()))))
    done = subprocess.run([WAYBILL, "check", file], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def managers(document):
    """Those with a node in them."""
    for listener in document.get("static_resources", {}).get("listeners", []):
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        if any(each["name"] == "waybill" for each in manager["http_filters"]):
            yield manager


@pytest.mark.parametrize(("lines", "status"), [
    (["Bearer sk-c-1", "Bearer sk-c-1"], 200),
    (["Bearer undefined", "Bearer sk-c-1"], 200),
    (["Basic eDp5", "Bearer sk-c-1"], 200),
    (["Bearer sk-c-1", "Bearer sk-r-77"], 403),
    (["Bearer sk-c-1", "sk-c-1"], 401),
])  # fmt: skip
def test_two_lines_of_authorization(lab, lines, status):
    """Over HTTP/1 and HTTP/2 alike Envoy joins them by a comma."""
    headers = [["x-forwarded-for", SINGAPORE], *(["authorization", line] for line in lines)]
    sent = wire.raw_request("POST", "/v1/responses", "gateway.acme.example", headers, b"")
    assert lab.send("openai", sent, method="POST").response.status == status
    pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "gateway.acme.example"), (":path", "/v1/responses")]
    response = lab.exchange("openai", lambda port: wire.exchange_h2(port, [*pseudo, *headers]))
    assert response.status == status


def test_only_digests_go_on_as_trailers_over_http2(lab):
    names = ["sec-websocket-protocol", "host", "cookie", "content-length", "authorization", "compliance-tag", "x-more", "content-digest", "repr-digest", "digest"]
    pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "gateway.acme.example"), (":path", "/v1/messages")]
    headers = [["x-forwarded-for", SINGAPORE], ["x-api-key", "sk-c-1"]]
    lab.upstream.take()
    trailers = [[name, "4"] for name in names]
    response = lab.exchange("edge", lambda port: wire.exchange_h2(port, [*pseudo, *headers], b"body", trailers))
    assert response.status == 200
    [received] = lab.upstream.take()
    assert [name for name, _ in received["trailers"]] == ["content-digest", "repr-digest", "digest"]
