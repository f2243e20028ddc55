"""The second host: what a file of envoy/ says for the wasm filter, said for the dynamic module.

docs/hosts.md has the same by hand, and envoy/module.yaml is snapshot.yaml in this form.
"""

EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.http"
WASM, MODULE = f"{EXTENSIONS}.wasm.v3.Wasm", f"{EXTENSIONS}.dynamic_modules.v3.DynamicModuleFilter"
BY_NAME = {"name": "waybill"}  # libwaybill.so in the folder that ENVOY_DYNAMIC_MODULES_SEARCH_PATH names
OWN_NAMES = {"envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": True}  # of its metrics


def as_module(part, module=BY_NAME):
    """A document, or a part of one, with the module in place of each wasm filter. `module` says where it is."""
    if isinstance(part, list):
        return [as_module(each, module) for each in part if not tells_the_peer(each)]
    if part == WASM:
        return MODULE  # as a type that ECDS may send
    if not isinstance(part, dict):
        return part
    if part.get("@type") == WASM:
        return module_filter(part["config"]["configuration"], module)
    changed = {name: as_module(each, module) for name, each in part.items() if name != "stats_config"}
    if "static_resources" in part:
        changed["layered_runtime"] = {"layers": [{"name": "static", "static_layer": OWN_NAMES}]}
    return changed


def module_filter(configuration, module=BY_NAME):
    """The filter's `typed_config`."""
    return {"@type": MODULE, "dynamic_module_config": module, "filter_name": "waybill", "filter_config": configuration}


def tells_the_peer(part):
    """The filter before the wasm one that says who the direct peer is: the module asks Envoy."""
    states = part.get("typed_config", {}).get("on_request_headers", []) if isinstance(part, dict) else []
    return [each.get("object_key") for each in states] == ["direct"]
