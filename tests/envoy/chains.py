"""Chains as other nodes sign them, and what a third party verifies: written anew from the documents, not from the node's code.

`carried` makes the headers that a case's `carried` describes; `signature_base` is RFC 9421, section 2.5, for what this
profile covers; `verify` takes what went on and verifies the signature, each hop of the trail and each `prev`.
"""

import base64
import hashlib
import json
import re
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

TAG = "llm-reseller-compliance"
SAYS = 'screening=passed, user="SG", origin="SG"'
ALWAYS = ["@authority", "compliance-tag", "compliance-chain"]
REQUEST = ["@method", "@authority", "@path", "compliance-tag", "compliance-chain"]
HEADERS = ["compliance-tag", "compliance-chain", "compliance-trail", "signature-input", "signature"]


class Key:
    """An Ed25519 key out of 32 equal bytes: anybody knows it."""

    def __init__(self, seed):
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = self.private.public_key()
        self.secret = base64url(bytes([seed]) * 32)
        self.x = base64url(self.public.public_bytes_raw())
        self.keyid = base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}'.encode()).digest())

    def private_jwk(self, **window):
        return json.dumps({"kty": "OKP", "crv": "Ed25519", "x": self.x, "d": self.secret, **window})

    def public_jwk(self, **window):
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, **window}


def carried(case, request, now):
    """The headers that say who carried the request before, signed at `now`."""
    chain, trail, previous = "", [], None
    hops = case["carried"]
    for number, hop in enumerate(hops):
        last = number == len(hops) - 1
        signer = case["keys"][hop["by"]]
        key = Key(case["keys"][hop.get("key", hop["by"])]["seed"])
        node, customer = hop.get("node", signer["node"]), hop.get("customer", "c-9")
        attest = hop.get("attest", "partial" if number else "full")
        member = f'"{node}"' + (f';customer="{customer}"' if customer else "") + f";attest={attest}"
        prev = hop.get("prev", digest(previous) if previous else None)
        member += f";prev=:{prev}:" if prev else ""
        chain = hop.get("chain", f"{chain}, {member}" if chain else member)
        created = now + hop.get("created", 0)
        said = f'node="{node}", ' + (f'customer="{customer}", ' if customer else "")
        tag = hop.get("tag", f"{said}{hop.get('says', SAYS)}, attest={attest}, at=@{created}")
        params = signature_params(case, hop, key, created, now + hop.get("expires", 60))
        after = None if last else hops[number + 1]
        authority = hop.get("authority") or (request["authority"] if last else case["keys"][after["by"]]["node"])
        seen = {**request, **hop.get("of", {})}
        values = {name.lower(): value for name, value in seen["headers"]} | {"compliance-tag": tag, "compliance-chain": chain}
        base = signature_base(params, seen["method"], authority, seen["path"], values)
        previous = key.private.sign(base.encode())
        if not last:
            replaced = hop.get("shows", {"from": "", "to": ""})
            shown = tag.replace(replaced["from"], replaced["to"]) if replaced["from"] else tag
            pair = f"(:{standard(shown.encode())}: :{standard(previous)}:)"
            trail.append(f"{pair};authority={quoted(authority)};params={quoted(params)}" if hop.get("shown", True) else "()")
    label = hops[-1].get("label", "cmp")
    lines = [["compliance-tag", tag], ["compliance-chain", chain]]
    lines += [["compliance-trail", ", ".join(trail)]] if trail else []
    lines += [["signature-input", f"{label}={params}"], ["signature", f"{label}=:{standard(previous)}:"]]
    for change in case.get("altered", []):
        lines = altered(lines, change)
    return lines


def signature_params(case, hop, key, created, expires):
    """`@signature-params`, in the order of the design unless the hop says another."""
    named = Key(case["keys"][hop["keyid"]]["seed"]) if "keyid" in hop else key
    values = {"created": created, "expires": expires, "nonce": hop.get("nonce") or secrets.token_urlsafe(16)}
    values |= {"alg": "ed25519", "keyid": named.keyid, "tag": TAG}
    values |= hop.get("params", {})
    order = hop.get("order", list(values))
    covers = hop.get("covers", ALWAYS if hop.get("binding") == "customer" else REQUEST)
    text = "(" + " ".join(f'"{name}"' for name in covers) + ")"
    for name in order:
        if values[name] is not None:
            text += f";{name}={values[name] if isinstance(values[name], int) else quoted(values[name])}"
    return text


def altered(lines, change):
    """One change to the headers after they were signed."""
    name, result = change["header"], []
    assert any(name == other for other, _ in lines), f"{name} isn't there to be altered"
    for other, value in lines:
        if other != name:
            result.append([other, value])
        elif "from" in change:
            assert change["from"] in value, f"{change['from']!r} isn't in {value!r}"
            result.append([name, value.replace(change["from"], change["to"], 1)])
        elif "flip" in change:
            at = value.index(change["flip"]) + len(change["flip"])
            result.append([name, value[:at] + ("B" if value[at] == "A" else "A") + value[at + 1 :]])
        elif "split" in change:
            result += [[name, part] for part in value.split(", ", 1)]
        elif "line" in change:
            result += [[name, value], [name, change["line"]]]
        elif "value" in change:
            result.append([name, change["value"]])
        else:
            assert change["drop"]
    return result


def signature_base(params, method, authority, path, values):
    """RFC 9421, section 2.5. `values` has the fields; the path may have a query."""
    path, mark, query = path.partition("?")
    derived = {"@method": method, "@authority": authority, "@path": path, "@query": "?" + query if mark else "?"}
    lines = []
    for name in re.findall(r'"([^"]*)"', params[: params.index(")")]):
        lines.append(f'"{name}": {derived.get(name, values.get(name))}')
    return "\n".join([*lines, f'"@signature-params": {params}'])


def verify(headers, keys, method, authority, path):
    """Verifies what went on as a third party would, and gives for each hop of the chain whether it is proven.

    `keys` leads from a keyid to a node's name and public key. The last hop's signature has to verify.
    """
    fields = {name.lower(): value for name, value in headers}
    label, params = re.fullmatch(r"(?:.*, )?(cmp)=(\(.*)", fields["signature-input"]).groups()
    signature = base64.b64decode(re.search(rf"{label}=:([^:]*):", fields["signature"])[1])
    chain = fields["compliance-chain"]
    hops = split(chain)
    shown = split(fields["compliance-trail"]) if "compliance-trail" in fields else ["()"] * (len(hops) - 1)
    assert len(shown) == len(hops) - 1, (chain, fields.get("compliance-trail"))
    check(keys, name_of(hops[-1]), params, signature, (method, authority, path), fields)
    proven = []
    for number, member in enumerate(shown):
        prev = re.search(r";prev=:([^:]*):", hops[number + 1])[1]
        found = re.fullmatch(r'\(:([^:]*): :([^:]*):\);authority="([^"]*)";params="(.*)"', member)
        if not found:
            assert member == "()", member
            proven.append(False)
            continue
        tag, earlier, to, signed = base64.b64decode(found[1]).decode(), base64.b64decode(found[2]), found[3], unquoted(found[4])
        cut = ", ".join(hops[: number + 1])
        assert chain.startswith(cut) and prev == digest(earlier), "prev"
        check(keys, name_of(hops[number]), signed, earlier, (method, to, path), {**fields, "compliance-tag": tag, "compliance-chain": cut})
        proven.append(True)
    return [*proven, True]


def check(keys, node, params, signature, request, fields):
    keyid = re.search(r';keyid="([^"]*)"', params)[1]
    name, key = keys[keyid]
    assert name == node, f"the key of {name} signed for {node}"
    method, authority, path = request
    base = signature_base(params, method, authority, path, fields)
    try:
        key.verify(signature, base.encode())
    except InvalidSignature:
        raise AssertionError(f"the signature of {node} doesn't verify over:\n{base}") from None


def public_keys(case):
    """The keys of the nodes that a configuration's register names, and the case's own."""
    nodes = case["config"].get("register", {}).get("nodes", [])
    pairs = [(node["id"], key["x"]) for node in nodes for key in node.get("keys", [])]
    own = Key(case["keys"][case["signs"]]["seed"])
    pairs.append((case["config"]["node"]["id"], own.x))
    found = {}
    for name, x in pairs:
        keyid = base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())
        found[keyid] = name, Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))
    return found


def split(text):
    """The members of a list as they stand: split at commas that are in no string."""
    return [member.strip() for member in re.findall(r'(?:[^",]|"(?:[^"\\]|\\.)*")+', text)]


def name_of(hop):
    return re.match(r'"([^"]*)"', hop)[1]


def digest(signature):
    return standard(hashlib.sha256(signature).digest())


def standard(data):
    return base64.b64encode(data).decode()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(text):
    return re.sub(r"\\(.)", r"\1", text)
