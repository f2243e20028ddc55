"""Traffic of a fleet over five weeks, made by a seed: honest customers of many kinds, and customers that hide others.

    tests/bench/traffic.py SEED FOLDER      writes FOLDER/log/*.jsonl, FOLDER/register/ and FOLDER/truth.json

`kinds.py` says what each kind models. Here is what all kinds share: the calendar, networks, people and their programs,
and the lines. A line has the shipped form. Events are valid by docs/event.schema.json, but `prev` is not a digest of
the event before: `waybill audit verify` has nothing to say here.

Requests are thinned, or a seed would have hundreds of millions: a developer's coding tool alone makes hundreds a day.
What the measures look at isn't thinned: networks and countries of a day, programs in the busiest hour, requests in
flight in the busiest moment.
"""

import hashlib
import itertools
import json
import math
import random
import statistics
import sys
from datetime import date, timedelta
from pathlib import Path

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000  # milliseconds
START = date(2026, 10, 19)  # a Monday
DAYS = 35
NODES = [f"gateway-{n}.acme.example" for n in (1, 2, 3)]

# hours from UTC, systems (ISPs) that people use, neighbours that a wrong entry of a geography source would name
COUNTRIES = {
    "US": (-6, 120, "CA MX"), "CA": (-5, 40, "US"), "MX": (-6, 30, "US"), "BR": (-3, 200, "AR UY PY"),
    "AR": (-3, 60, "CL UY"), "CL": (-4, 20, "AR PE"), "CO": (-5, 30, "PE BR"), "GB": (0, 50, "IE"), "IE": (0, 15, "GB"),
    "PT": (0, 12, "ES"), "ES": (1, 40, "PT FR"), "FR": (1, 40, "BE DE ES"), "DE": (1, 45, "FR NL AT PL CH"),
    "NL": (1, 40, "BE DE"), "BE": (1, 20, "NL FR"), "CH": (1, 25, "DE FR IT"), "AT": (1, 25, "DE IT"),
    "IT": (1, 50, "FR CH AT"), "PL": (1, 80, "DE CZ"), "CZ": (1, 60, "DE PL AT"), "SE": (1, 40, "NO FI DK"),
    "DK": (1, 25, "SE DE"), "NO": (1, 25, "SE"), "FI": (2, 20, "SE"), "RO": (2, 40, "HU BG"), "GR": (2, 12, "BG"),
    "TR": (3, 20, "GR BG"), "IL": (2, 15, "JO"), "AE": (4, 3, "OM"), "ZA": (2, 60, "NA"), "KE": (3, 15, "TZ UG"),
    "IN": (5, 100, "NP BD"), "TH": (7, 15, "MY LA"), "VN": (7, 15, "LA"), "ID": (7, 80, "MY"), "MY": (8, 15, "SG TH"),
    "SG": (8, 8, "MY"), "PH": (8, 30, ""), "TW": (8, 20, ""), "KR": (9, 15, ""), "JP": (9, 50, ""), "AU": (10, 50, ""),
    "NZ": (12, 25, ""),
}
HOMES = ["US"] * 8 + ["DE"] * 5 + ["GB"] * 4 + ["JP"] * 4 + ["FR", "IN", "SG", "AU"] * 3 + [
    "CA", "NL", "ES", "IT", "PL", "SE", "CH", "BR", "KR", "IL"] * 2 + ["AT", "IE", "PT", "AE", "NZ", "DK", "MX", "TW"]
SUNDAY_WEEKS = {"IL"}  # work from Sunday to Thursday
CLOUDS = [(16509, "US IE DE SG JP"), (15169, "US NL BE TW JP"), (8075, "US NL GB SG AU"), (24940, "DE FI US"),
          (14061, "US NL SG IN"), (16276, "FR PL CA GB"), (20473, "US JP DE"), (31898, "US GB JP BR")]
SASES = [22616, 55256, 13335, 54538, 394711]  # systems of services that send a company's traffic out of their own networks
VPNS = [212238, 9009, 60068, 136787]
# programs that people sit at (`people` in data/client-software.json), the most usual first
TOOLS = ["claude-code", "cursor", "codex-cli", "cline", "gemini-cli", "opencode", "continue", "aider", "zed", "roo-code",
         "cherry-studio", "open-webui", "librechat"]
SDKS = ["openai-python", "anthropic-python", "openai-node", "anthropic-typescript", "langchain", "litellm", "vercel-ai",
        "openai-go", "anthropic-java", "google-genai-python", "python-requests", "curl"]
SYSTEMS = ["macos"] * 5 + ["windows"] * 3 + ["linux"] * 2
MISPLACED = 0.001  # of home networks that a geography source puts into the wrong country
UNLISTED_CLOUD = 0.03  # of networks of clouds that no list knows
NORMAL = statistics.NormalDist()


class Place:
    """A cut address with what the sources say of it."""

    __slots__ = ("address", "origin", "network", "text")

    def __init__(self, address, origin, network, asn):
        self.address, self.origin, self.network = address, origin, network
        members = {"user": None, "origin": origin, "address": address, "network": network}
        self.text = quoted(members | ({"asn": asn} if asn else {}))

    @property
    def of_people(self):
        """Whether its country says where somebody is."""
        return self.network not in ("hosting", "proxy", "vpn", "tor")


class World:
    """Networks of everybody, and the calendar."""

    def __init__(self, seed):
        self.rng = random.Random(f"world {seed}")
        self.numbers = itertools.count(70_000)
        self.homes, self.weights = {}, {}
        self.holidays = {country: set(self.rng.sample(range(DAYS), self.rng.choice((0, 1, 1, 2)))) for country in COUNTRIES}
        base = 210_000
        self.isps = {}
        for country, (_, systems, _) in COUNTRIES.items():
            # a few large ISPs have most customers; 2 % of systems aren't in the source
            self.isps[country] = [base + n if self.rng.random() > 0.02 else None for n in range(systems)]
            self.weights[country] = list(itertools.accumulate((n + 1) ** -1.2 for n in range(systems)))
            base += systems

    def address(self, six=False):
        number = next(self.numbers)
        if six:
            return f"2a00:{0x1000 + (number >> 12):x}:{0x1000 + (number & 0xfff):x}::/48"
        return f"{1 + (number >> 16) % 223}.{number >> 8 & 255}.{number & 255}.0/24"

    def home(self, country, rng):
        """A network that homes and telephones of this country use."""
        weights = self.weights[country]
        isp = rng.choices(range(len(weights)), cum_weights=weights)[0]
        # an ISP of rank n has so many networks in use by these customers
        key = (country, isp, int(rng.random() * 12_000 / (isp + 1)))
        place = self.homes.get(key)
        if place is None:
            origin = country
            if self.rng.random() < MISPLACED:
                origin = self.rng.choice(COUNTRIES[country][2].split() or [country])
            place = Place(self.address(self.rng.random() < 0.15), origin, None, self.isps[country][isp])
            self.homes[key] = place
        return place

    def line(self, country, rng):
        """An office's own line."""
        return Place(self.address(), country, None, self.isps[country][rng.randrange(len(self.isps[country]))])

    def cloud(self, rng, cloud=None, country=None):
        asn, regions = cloud or rng.choice(CLOUDS)
        listed = rng.random() >= UNLISTED_CLOUD
        return Place(self.address(), country or rng.choice(regions.split()), "hosting" if listed else None, asn)

    def sase(self, country, rng, asn=None):
        """An egress of a service that many companies leave through."""
        return Place(self.address(), country, "hosting", asn or rng.choice(SASES))

    def vpn(self, country, rng):
        """An exit of a VPN; not each is on a list of VPNs."""
        kind = rng.choices(["vpn", "hosting", None], [88, 8, 4])[0]
        return Place(self.address(), country, kind, rng.choice(VPNS))


class Key:
    """One credential, and what a kind says of it."""

    def __init__(self, world, name, group, kind, strength="", home=None):
        self.rng = rng = random.Random(name)
        self.world, self.group, self.kind, self.strength = world, group, kind, strength
        self.home = home or rng.choice(HOMES)
        self.declared = {self.home}
        self.customer, self.label = None, "production"
        self.onset = None  # the day on which it begins to hide somebody
        self.reseller, self.networks, self.certificate = False, [], False
        self.noise = rng.uniform(0.15, 0.45)

    def activity(self, day, weekend):
        """How busy a day is beside an ordinary one: days of the week, holidays, noise, and now and then an incident."""
        of_week = (day + (self.home in SUNDAY_WEEKS)) % 7
        factor = weekend if of_week >= 5 or day in self.world.holidays[self.home] else 1.0
        rng = self.rng
        if rng.random() < 0.01:
            factor *= rng.choice((3, 0.1))
        return factor * rng.lognormvariate(0, self.noise)

    def size(self, median, sigma, least=2):
        return max(least, round(self.rng.lognormvariate(math.log(median), sigma)))

    def some(self, mean):
        """A whole number around a mean (Poisson, by its normal form)."""
        return max(0, round(self.rng.gauss(mean, math.sqrt(mean)))) if mean > 0 else 0

    def duration(self):
        return int(self.rng.lognormvariate(8.7, 0.9))  # median 6 s

    def office_time(self, day, country):
        return day * DAY + int((self.rng.gauss(13.5, 2.4) - COUNTRIES[country][0]) * HOUR)

    def any_time(self, day):
        return day * DAY + self.rng.randrange(DAY)

    def abroad(self, border=True):
        """A country that isn't declared."""
        near = set() if border else {n for c in self.declared for n in COUNTRIES[c][2].split()}
        return self.rng.choice([c for c in COUNTRIES if c != self.home and c not in self.declared | near])

    def request(self, out, at, place, program):
        out.append((at, self.duration(), place, program))

    def burst(self, out, at, place, program, number):
        """So many requests in flight at one moment."""
        for _ in range(number):
            ago = self.rng.randrange(4 * SECOND)
            out.append((at - ago, ago + SECOND + self.duration(), place, program))

    def busiest(self, mean, moments=60):
        """The most of so many moments of a day, each with a number around this mean."""
        most = NORMAL.inv_cdf(self.rng.random() ** (1 / moments))
        return max(0, round(mean + most * math.sqrt(mean)))

    def tools(self):
        """The programs of a company's people: one by rule, one beside it, and what some prefer."""
        liked = TOOLS[:1] + self.rng.sample(TOOLS[1:], len(TOOLS) - 1)
        if self.rng.random() < 0.4:
            self.rng.shuffle(liked)
        weights = [70, 15] + [15 * (n + 1) ** -1.3 / 2.5 for n in range(len(liked) - 2)]
        return lambda: program(self.rng.choices(liked, weights)[0], self.rng)

    def clients(self, out, day, number, countries, weights=None, requests=1.15, at=17):
        """Single users of an application that holds the key, each in a network of home or telephone."""
        rng, world = self.rng, self.world
        for country in rng.choices(countries, weights, k=number):
            place = world.home(country, rng)
            for _ in range(1 if rng.random() > requests - 1 else 2):
                when = day * DAY + int((rng.gauss(at, 3.5) - COUNTRIES[country][0]) * HOUR)
                out.append((when, self.duration(), place, APP))


class Person:
    """Somebody with a home, a telephone, and a program."""

    __slots__ = ("country", "home", "tool")

    def __init__(self, key, country, tool):
        self.country, self.tool = country, tool
        self.home = key.world.home(country, key.rng)

    def place(self, key):
        """Where he is online outside the office: at home, whose address changes now and then, or elsewhere."""
        rng = key.rng
        if rng.random() < 0.05:
            self.home = key.world.home(self.country, rng)
        return key.world.home(self.country, rng) if rng.random() < 0.1 else self.home


def quoted(members):
    """Members of an event as they stand inside the string of a line, without the brackets."""
    return json.dumps(json.dumps(members, separators=(",", ":")))[2:-2]


PROGRAMS = {}


def program(sdk, rng):
    key = (sdk, rng.randrange(30), rng.choice(SYSTEMS))
    if key not in PROGRAMS:
        PROGRAMS[key] = quoted({"software": {"sdk": sdk, "version": f"{1 + key[1] // 10}.{key[1]}", "os": key[2]}})
    return PROGRAMS[key]


APP = quoted({"software": {"sdk": "other", "os": "ios"}})
ALLOWED = {"mode": "report", "verdict": "allow", "would_be": None, "route": None, "reason": None, "findings": []}
UNDECLARED = {"mode": "report", "verdict": "report", "would_be": None, "route": None, "reason": "geo.undeclared",
              "findings": [{"code": "geo.undeclared", "action": "report", "evidence": "not declared"}]}
UNKNOWN = {"mode": "report", "verdict": "report", "would_be": "block", "route": None, "reason": "identity.unknown",
           "findings": [{"code": "identity.unknown", "action": "block", "evidence": "in the register: none"}]}
TAIL = quoted({"chain": None, "policy": "bbb4a5cc7f1dea48", "snapshot": 1792000000})


class Traffic:
    """All lines of one seed. `kinds` are rows (group, kind, strength, number, function)."""

    def __init__(self, seed, kinds, days=DAYS):
        self.seed, self.days = seed, days
        self.world, self.rng = World(seed), random.Random(f"lines {seed}")
        self.keys, self.plays = [], []
        for group, kind, strength, number, play in kinds:
            for index in range(number):
                key = Key(self.world, f"{seed} {group} {kind} {strength} {index}", group, kind, strength)
                self.keys.append(key)
                self.plays.append(play(key))
        self.name_customers()
        self.counts = dict.fromkeys(("events", "doubles", "null", "without_duration", "unknown", "lost"), 0)
        self.vms = [[node, f"{seed:08x}{index:08x}", 0] for index, node in enumerate(NODES * 2)]
        lost = self.rng.randrange(days * 24)
        self.lost = (self.rng.choice(self.vms)[1], lost * HOUR, (lost + 6) * HOUR)  # a log file that was lost

    def name_customers(self):
        """One credential a customer; a tenth have two, a twentieth have one without a label, as in a small register."""
        numbers = self.rng.sample(range(1_000, 10_000), len(self.keys))
        steady = []
        for key, number in zip(self.keys, numbers):
            key.customer = f"customer-{self.seed}-{number}"
            if key.kind in ("office", "service", "busy service", "many services", "two regions"):
                steady.append(key)
            elif not key.certificate and self.rng.random() < 0.05:
                key.label = None
        # the second credential of another customer at the same place; a customer that hides somebody has honest ones too
        others = [key for key in self.keys if key.group != "exempt" and key not in steady and key.label]
        for other in self.rng.sample(others, len(others) // 5):
            for key in steady:
                if key.home == other.home and key.declared <= other.declared:
                    key.customer, key.label, key.declared = other.customer, "staging", other.declared
                    steady.remove(key)
                    break
        for key in self.keys:
            if key.certificate:
                key.label = None
            if key.group == "honest" and len(key.declared) == 1 and self.rng.random() < 0.05 and key.label != "staging":
                key.declared.clear()  # it is in one country, and nobody asked

    def truth(self):
        """What each credential is: what `waybill sharing` is held against, and never reads."""
        keys = [{"customer": key.customer, "credential": key.label, "group": key.group, "kind": key.kind,
                 "strength": key.strength, "onset": key.onset} for key in self.keys]
        return {"seed": self.seed, "start": START.isoformat(), "days": self.days, "keys": keys, "counts": self.counts}

    def day(self, day):
        """The lines of one day, each with its node, in the order in which their streams ended."""
        events = []
        for key, play in zip(self.keys, self.plays):
            credential = {"source": "mtls dns"} if key.certificate else {"source": "header x-api-key"}
            credential |= {"label": key.label} if key.label else {}
            who = {"customer": key.customer, "credential": credential}
            heads = quoted(who | ALLOWED), quoted(who | UNDECLARED)
            whole = key.group == "hiding"  # a line that is lost shows nothing: such a day wouldn't count
            made = []
            play(day, made)
            for at, duration, place, used in made:
                known = not key.declared or not place.of_people or place.origin in key.declared
                events.append((at, duration, heads[0] if known else heads[1], place.text, used, whole))
        for _ in range(len(events) // 200):
            head = quoted({"customer": None, "credential": None} | UNKNOWN)
            place = self.world.home(self.rng.choice(HOMES), self.rng)
            events.append((day * DAY + self.rng.randrange(DAY), 3, head, place.text, APP, False))
            self.counts["unknown"] += 1
        return self.lines(events)

    def lines(self, events):
        rng, counts, end = self.rng, self.counts, self.days * DAY
        lost_vm, lost_since, lost_until = self.lost
        dates = [(START + timedelta(days=day)).isoformat() for day in range(-1, self.days + 2)]
        events.sort(key=lambda event: event[0])
        done = []
        for (at, duration, head, place, used, whole), vm in zip(events, rng.choices(self.vms, k=len(events))):
            if not 0 <= at < end:
                continue
            seq, vm[2] = vm[2], vm[2] + 1
            if vm[1] == lost_vm and lost_since <= at < lost_until and not whole:
                counts["lost"] += 1
                continue
            day, rest = divmod(at, DAY)
            clock = f"{rest // HOUR:02}:{rest // MINUTE % 60:02}:{rest // SECOND % 60:02}.{rest % SECOND:03}"
            beside = f'"duration_ms":{duration},'
            if not whole and rng.random() < 0.005:
                beside = ""
                counts["without_duration"] += 1
            line = (f'{{"event":"{{\\"schema\\":1,\\"id\\":\\"{vm[1]}-{seq}\\",\\"time\\":\\"{dates[day + 1]}T{clock}Z\\",'
                    f'\\"node\\":\\"{vm[0]}\\",{head},{place},{used},{TAIL},\\"vm\\":\\"{vm[1]}\\",\\"seq\\":{seq},'
                    f'\\"prev\\":\\"{seq:064x}\\"}}","status":200,{beside}"request_id":"{vm[1]}-{seq}"}}\n')
            done.append((at + duration, vm[0], line))
            counts["events"] += 1
            chance = rng.random()
            if chance < 0.001:  # a shipper sends a line again
                done.append((at + duration + MINUTE, vm[0], line))
                counts["doubles"] += 1
            elif chance < 0.003:  # a request that Envoy answered before the node
                done.append((at, vm[0], '{"event":null,"status":400,"duration_ms":0,"request_id":null}\n'))
                counts["null"] += 1
        done.sort(key=lambda line: line[0])
        return [(node, line) for _, node, line in done]


def write_register(folder, keys):
    """The register of these credentials' customers."""
    customers = {}
    for key in keys:
        customer = customers.setdefault(key.customer, {"id": key.customer, "credentials": [], "declared": []})
        customer["declared"] = sorted(key.declared | set(customer["declared"]))
        if key.reseller:
            customer["kind"] = "reseller"
        if key.certificate:
            customer["mtls"] = [f"{key.customer}.example"]
            continue
        digest = hashlib.sha256(f"{key.customer} {key.label}".encode()).hexdigest()
        entry = {"digest": f"sha256:{digest}"} | ({"label": key.label} if key.label else {})
        customer["credentials"].append(entry | ({"networks": key.networks} if key.networks else {}))
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"schema": 1, "regions": {"set": "anthropic-api-179"}}
    (folder / "register.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "customers.json").write_text(json.dumps({"customers": list(customers.values())}, indent=1) + "\n")


def main():
    if len(sys.argv) != 3 or not sys.argv[1].isdigit():
        sys.exit("usage: traffic.py SEED FOLDER")
    from kinds import KINDS
    traffic, folder = Traffic(int(sys.argv[1]), KINDS), Path(sys.argv[2])
    write_register(folder / "register", traffic.keys)
    (folder / "log").mkdir(exist_ok=True)
    for day in range(traffic.days):
        files = {node: (folder / "log" / f"{node}.jsonl").open("a" if day else "w") for node in NODES}
        for node, line in traffic.day(day):
            files[node].write(line)
        for file in files.values():
            file.close()
    (folder / "truth.json").write_text(json.dumps(traffic.truth(), indent=1) + "\n")
    print(json.dumps(traffic.counts))


if __name__ == "__main__":
    main()
