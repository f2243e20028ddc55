"""The kinds of traffic: how many credentials of each are in a seed, and what each models.

A kind is a function of a credential. It settles what stays the same for five weeks, and returns what a day is like.
Numbers without a source are estimates of ours, written down before `waybill sharing` was first run over them. What was
changed after first runs were faults of the generator (bursts counted twice, clouds that no list knows and nobody had
declared): docs/sharing.md has them.
"""

import math

from traffic import CLOUDS, COUNTRIES, DAY, DAYS, HOUR, MINUTE, SASES, SDKS, TOOLS, Person, program

LARGE = [country for country, (_, systems, _) in COUNTRIES.items() if systems >= 40]
SMALL = [country for country, (_, systems, _) in COUNTRIES.items() if systems <= 8]


def settled(key, place):
    """A place that a customer has used for long: where no list knows its cloud, `geo.undeclared` fired on each request,
    and its country was declared."""
    if place.of_people:
        key.declared.add(place.origin)
    return place


# honest


def office(key):
    """People in an office with a line of their own, who work at home on some days.

    Half of such companies send those at home through the office (a VPN of its own), half let them go straight out.
    Most have fewer than 30 people; the second line takes over on a day in fifty.
    """
    rng, people = key.rng, key.size(12, 0.8)
    lines = [key.world.line(key.home, rng) for _ in range(2)]
    tool, at_home, straight = key.tools(), rng.uniform(0, 0.5), rng.random() < 0.5
    team = [Person(key, key.home, tool()) for _ in range(people)]

    def day(day, out):
        line = lines[rng.random() < 0.02]
        present = min(1.0, 0.8 * key.activity(day, 0.06))
        for person in team:
            if rng.random() < present:
                place = person.place(key) if straight and rng.random() < at_home else line
                for _ in range(1 + key.some(4)):
                    key.request(out, key.office_time(day, key.home), place, person.tool)
    return day


def behind_egress(key, people, egress):
    """People who leave through one network of a hosting class.

    In the busiest hour, 60 % of those at work use their tool. Half of these have an agent at work at a time, and an
    agent waits for the model three quarters of its time: the most of 60 such moments counts, program by program.
    """
    rng, tool = key.rng, key.tools()
    team = [tool() for _ in range(people)]

    def day(day, out):
        present = min(1.0, 0.75 * key.activity(day, 0.05))
        at_work = [used for used in team if rng.random() < present]
        if not at_work:
            return
        place = egress[0] if rng.random() < 0.9 else rng.choice(egress)
        hour = day * DAY + int((10 + rng.randrange(6) - COUNTRIES[key.home][0]) % 24) * HOUR
        in_hour = [used for used in at_work if rng.random() < 0.6]
        for used in in_hour:
            key.request(out, hour + rng.randrange(HOUR), place, used)
        moment = hour + rng.randrange(10 * MINUTE, 50 * MINUTE)
        for sdk in TOOLS:  # whatever their versions
            using = [used for used in in_hour if f'"{sdk}' in used]
            if using:
                key.burst(out, moment, place, using[0], key.busiest(len(using) * 0.5 * 0.75))
        for used in at_work:
            for _ in range(key.some(2)):
                key.request(out, key.office_time(day, key.home), rng.choice(egress), used)
    return day


def behind_sase(key):
    """An office behind a shared egress of a hosting class (SASE: a service that carries a company's whole traffic), or
    developers on machines in a cloud behind one NAT. Median 15 people, one in fifty has over 100: larger companies
    rarely share one key, and often run a gateway of their own, which shows an SDK.
    """
    rng, people = key.rng, key.size(15, 0.9)
    if rng.random() < 0.2:
        egress = [settled(key, key.world.cloud(rng))]
    else:
        asn = rng.choice(SASES)
        egress = [key.world.sase(key.home, rng, asn) for _ in range(rng.choice((1, 1, 2, 3)))]
    return behind_egress(key, people, egress)


def remote(key):
    """A team without an office, each at home, in a country or two."""
    rng, tool = key.rng, key.tools()
    if rng.random() < 0.3:
        key.declared.add(rng.choice(list(COUNTRIES)))
    team = [Person(key, country, tool()) for country in rng.choices(sorted(key.declared), k=key.size(18, 0.8))]

    def day(day, out):
        present = min(1.0, 0.8 * key.activity(day, 0.12))
        for person in team:
            if rng.random() < present:
                place = person.place(key)
                for _ in range(1 + key.some(4)):
                    key.request(out, key.office_time(day, person.country), place, person.tool)
    return day


def branches(key):
    """Shops or surgeries, each with a line of its own; a few open in these weeks, one closes. The most have 20."""
    rng = key.rng
    key.declared |= set(rng.sample(list(COUNTRIES), rng.choice((0, 0, 1, 2))))
    number = key.size(20, 0.9, least=3)
    used = program(rng.choice(SDKS[:4]), rng)
    shops = [(key.world.line(rng.choice(sorted(key.declared)), rng), 0, DAYS) for _ in range(number)]
    for _ in range(rng.choice((0, 1, 2, 3, number // 4))):
        shops.append((key.world.line(key.home, rng), rng.randrange(7, DAYS), DAYS))
    shops[0] = (shops[0][0], 0, rng.randrange(DAYS))
    on_saturdays = rng.choice((0.1, 0.8))

    def day(day, out):
        activity = key.activity(day, on_saturdays)
        for place, since, until in shops:
            if since <= day < until and rng.random() < 0.9 * min(1.0, activity + 0.2):
                for _ in range(1 + key.some(2.5 * activity)):
                    key.request(out, key.office_time(day, place.origin), place, used)
    return day


def service(key, at_once=0, programs=1, place=None):
    """A program on a machine: in a cloud, or on the company's own line."""
    rng = key.rng
    place = place or (settled(key, key.world.cloud(rng)) if rng.random() < 0.8 else key.world.line(key.home, rng))
    # older and newer versions of a few SDKs
    used = [program(rng.choice(SDKS[:3] if programs == 1 else SDKS), rng) for _ in range(programs)]
    daily, weekend = rng.lognormvariate(math.log(60), 0.5), rng.uniform(0.4, 1.1)

    def day(day, out):
        activity = key.activity(day, weekend)
        for _ in range(key.some(daily * activity)):
            key.request(out, key.any_time(day), place, rng.choice(used))
        if at_once and rng.random() < 0.9:
            moment = day * DAY + rng.randrange(HOUR, DAY - HOUR)
            key.burst(out, moment, place, used[0], key.some(at_once * min(2.0, activity)))
    return day


def busy_service(key):
    """A service with 200 requests in flight from one network: batches, or a chat of many users behind one server."""
    return service(key, at_once=key.size(200, 0.3))


def many_services(key):
    """20 services of different SDKs and versions behind one key and one NAT."""
    return service(key, at_once=key.size(20, 0.5), programs=20)


def two_regions(key):
    """A service in two regions of a cloud; half of these run without servers, from whatever networks the cloud gives
    them, more when there is more to do."""
    rng, cloud = key.rng, key.rng.choice(CLOUDS)
    regions = (cloud[1].split() * 2)[:2]
    pool = 120 if rng.random() < 0.5 else 1
    places = [[settled(key, key.world.cloud(rng, cloud, region)) for _ in range(pool)] for region in regions]
    used, daily, weekend = program(rng.choice(SDKS[:4]), rng), key.size(90, 0.6), rng.uniform(0.4, 1.1)

    def day(day, out):
        activity = key.activity(day, weekend)
        awake = [region[:max(1, int(pool * 0.3 * activity))] for region in places]
        for _ in range(key.some(daily * activity)):
            key.request(out, key.any_time(day), rng.choice(awake[rng.random() < 0.4]), used)
    return day


def countries(key):
    """A company with people in three to eight countries, all declared."""
    rng, tool = key.rng, key.tools()
    key.declared |= set(rng.sample(list(COUNTRIES), rng.randrange(2, 8)))
    all_places = sorted(key.declared)
    places = {country: [key.world.line(country, rng) for _ in range(2)] for country in all_places}
    team = [Person(key, country, tool()) for country in rng.choices(all_places, k=key.size(25, 0.6))]

    def day(day, out):
        present = min(1.0, 0.8 * key.activity(day, 0.08))
        for person in team:
            if rng.random() < present:
                # they visit each other, and work at home
                where = person.country if rng.random() < 0.95 else rng.choice(all_places)
                place = person.place(key) if rng.random() < 0.3 else rng.choice(places[where])
                for _ in range(1 + key.some(5)):
                    key.request(out, key.office_time(day, where), place, person.tool)
    return day


def spread(key, others, share):
    """Where an application's users are: most in the countries that it is offered in, all declared, and a tail
    elsewhere, of travellers and of people who moved."""
    offered = [key.home] + key.rng.sample([c for c in COUNTRIES if c != key.home], others)
    key.declared |= set(offered)
    tail = [country for country in COUNTRIES if country not in offered]
    key.rng.shuffle(tail)
    weights = [1 / (n + 1) for n in range(len(offered))]
    total = sum(weights)
    rare = [(n + 1) ** -0.7 for n in range(len(tail))]
    return offered + tail, [w / total * (1 - share) for w in weights] + [w / sum(rare) * share for w in rare]


def application(key):
    """A key in a mobile application: many networks from the first day on, most at weekends. 4 % of the users are
    outside the countries where it is offered."""
    rng, users = key.rng, min(2_500, key.size(1_000, 0.5))
    where, weights = spread(key, rng.randrange(0, 6), 0.04)
    weekend = rng.uniform(0.9, 1.5)

    def day(day, out):
        key.clients(out, day, int(users * min(1.6, key.activity(day, weekend))), where, weights)
    return day


def vpn(key):
    """A small team, some of whom switch a VPN on and off, with exits in their favourite countries."""
    rng, tool = key.rng, key.tools()
    team = [Person(key, key.home, tool()) for _ in range(key.size(7, 0.5))]
    line = key.world.line(key.home, rng) if rng.random() < 0.5 else None
    exits = [[key.world.vpn(rng.choice(list(COUNTRIES)), rng) for _ in range(3)] for _ in team]

    def day(day, out):
        present = min(1.0, 0.8 * key.activity(day, 0.2))
        for person, favourites in zip(team, exits):
            if rng.random() < present:
                place, hidden = line or person.place(key), rng.choice(favourites)
                on = rng.random() if rng.random() < 0.35 else 0
                for _ in range(3 + key.some(9)):
                    key.request(out, key.office_time(day, key.home), hidden if rng.random() < on else place,
                                person.tool)
    return day


def launch(key):
    """A product whose users call from where they are: ten times as many for two days, then fewer day by day, until a
    third more than before are left."""
    rng, users, first = key.rng, key.size(25, 0.5, least=6), key.rng.randrange(14, 31)
    where, weights = spread(key, rng.randrange(0, 4), 0.04)
    weekend, fall = rng.uniform(0.5, 1.2), rng.uniform(0.2, 0.5)

    def day(day, out):
        since = day - first
        times = 1 if since < 0 else 10 if since < 2 else 1.3 + 8.7 * fall ** (since - 1)
        key.clients(out, day, int(users * times * key.activity(day, weekend)), where, weights)
    return day


def growth(key):
    """A product whose users double in a month."""
    rng, users = key.rng, key.size(50, 0.5, least=15)
    where, weights = spread(key, rng.randrange(0, 4), 0.04)
    weekend = rng.uniform(0.5, 1.2)

    def day(day, out):
        key.clients(out, day, int(users * 2 ** (day / 28) * key.activity(day, weekend)), where, weights)
    return day


def migration(key):
    """A move for good in these weeks, over some days: from one cloud to another, from an office's line to a SASE, from
    the office to everybody's home, or from one SDK to others."""
    rng, since, over = key.rng, key.rng.randrange(10, 30), key.rng.randrange(1, 8)
    kind = rng.choice(("cloud", "sase", "home", "sdk"))
    if kind in ("cloud", "sdk"):
        place = settled(key, key.world.cloud(rng))
        before = service(key, at_once=10, place=place)
        after = service(key, at_once=10, place=key.world.cloud(rng) if kind == "cloud" else place, programs=3)
    elif kind == "sase":
        before, after = office(key), behind_sase(key)
    else:
        before, after = office(key), remote(key)

    def day(day, out):
        (after if rng.random() < (day - since + 1) / over else before)(day, out)
    return day


def traveller(key, weeks=False):
    """An office one of whose people travels, to a country that nobody declared, one to four days, and sometimes again.
    Requests there aren't thinned: 12 a day in the middle, since such days are full of meetings. Who stays longer tells
    it before, as the agreement asks: `weeks` are those who don't.
    """
    rng, at_office = key.rng, office(key)
    trips, first = {}, rng.randrange(3, 14)
    while first < DAYS:
        length, where = 5 if weeks else rng.choices((1, 2, 3, 4), (30, 25, 20, 15))[0], None
        for day in range(first, min(DAYS, first + length)):
            trips[day] = where = where or (first, rng.lognormvariate(math.log(12), 0.8))
        first += rng.randrange(8, 28)
    hotels = {}

    def day(day, out):
        at_office(day, out)
        if day in trips:
            first, usual = trips[day]
            if first not in hotels:
                country = key.abroad()
                hotels[first] = country, [key.world.home(country, rng) for _ in range(2)], key.tools()()
            country, places, used = hotels[first]
            for _ in range(round(usual * rng.lognormvariate(0, 0.6))):
                key.request(out, key.office_time(day, country), rng.choice(places), used)
    return day


def chat_server(key):
    """A chat for a company's people on one server of its own: 2 % of them have a request in flight in the busiest
    moment. One in four shows its own name (see the notes in data/client-software.json), the others an SDK's."""
    rng, people, place = key.rng, key.size(80, 1.0), settled(key, key.world.cloud(key.rng))
    used = program(rng.choice(("open-webui", "librechat")) if rng.random() < 0.25 else SDKS[2], rng)

    def day(day, out):
        activity = min(1.3, key.activity(day, 0.1))
        for _ in range(key.some(min(150, people) * activity)):
            key.request(out, key.office_time(day, key.home), place, used)
        key.burst(out, day * DAY + rng.randrange(8, 16) * HOUR, place, used, key.busiest(people * 0.02 * activity))
    return day


def agents(key):
    """Agents without people, in parallel on machines of a cloud: tests, reviews, evaluations. Half run a program that
    can't be told from one that somebody sits at."""
    rng, place, parallel = key.rng, settled(key, key.world.cloud(key.rng)), key.size(6, 0.8)
    used = program(rng.choice(("aider", "gemini-cli", "opencode", "claude-agent-sdk", "codex-exec", "claude-agent-sdk")), rng)

    def day(day, out):
        activity = key.activity(day, 0.3)
        for _ in range(key.some(60 * activity)):
            key.request(out, key.any_time(day), place, used)
        if activity > 0.1:
            key.burst(out, day * DAY + rng.randrange(1, 23) * HOUR, place, used, round(parallel * min(2, activity)))
    return day


def closed_office(key):
    """An office that shuts for two to five working days (a strike, snow, a flood): everybody is at home."""
    rng, tool, line = key.rng, key.tools(), key.world.line(key.home, key.rng)
    team = [Person(key, key.home, tool()) for _ in range(key.size(25, 0.8))]
    first = 7 * rng.randrange(2, 5) + rng.randrange(0, 3)
    closed = range(first, first + rng.randrange(2, 6))

    def day(day, out):
        present = min(1.0, 0.8 * key.activity(day, 0.06))
        for person in team:
            if rng.random() < present:
                place = person.place(key) if day in closed or rng.random() < 0.1 else line
                for _ in range(1 + key.some(4)):
                    key.request(out, key.office_time(day, key.home), place, person.tool)
    return day


def silent(key):
    """A company in three to eight countries that declared none. Honest, but the finding is right: it asks for just that.
    So it is counted apart."""
    day = countries(key)
    key.declared.clear()
    return day


# hiding


def begin(key):
    """The day on which it begins: late enough for a past of two weeks and more, early enough to be found."""
    key.onset = key.rng.randrange(18, 25)
    return key.onset


def relay(key, programs=1, at_once=0, ironed=False, place=None):
    """A service that, from some day on, passes on what others send, from a network of its cloud, on five days of each
    seven. It leaves the marks of `programs` programs in one hour, or `at_once` requests of one in flight. One that
    irons marks out puts one SDK's name on everything.
    """
    rng, onset, own = key.rng, begin(key), service(key)
    place, active = place or key.world.sase(key.home, rng, rng.choice(CLOUDS)[0]), rng.sample(range(7), 5)
    passed = [program(sdk, rng) for sdk in rng.sample(TOOLS, programs)]
    if ironed:
        passed = [program("anthropic-typescript", rng)]

    def day(day, out):
        own(day, out)
        if day < onset or (day - onset) % 7 not in active:
            return
        hour = day * DAY + rng.randrange(1, 23) * HOUR
        for used in passed:
            key.request(out, hour + rng.randrange(HOUR), place, used)
        for _ in range(key.some(60)):
            key.request(out, key.any_time(day), place, rng.choice(passed))
        if at_once:
            key.burst(out, hour + 30 * MINUTE, place, passed[0], at_once)
    return day


def ironed_behind_homes(key):
    """A relay that irons marks out and leaves through rented addresses of homes, other ones each day."""
    rng, onset = key.rng, begin(key)
    key.home = rng.choice(LARGE)
    key.declared = {key.home}
    own = service(key)
    used = program("anthropic-typescript", rng)

    def day(day, out):
        own(day, out)
        for _ in range(key.some(150) if day >= onset else 0):
            key.request(out, key.any_time(day), key.world.home(key.home, rng), used)
    return day


def resold(key, times, homes=LARGE, usual=None, from_start=False):
    """A key whose users are in so many times as many networks from some day on, for good, at weekends too. New ones are
    in the declared country: else `sharing.countries` would see them."""
    rng, onset = key.rng, 0 if from_start else begin(key)
    key.home = rng.choice(homes)
    key.declared = {key.home}
    usual, weekend = usual or rng.randrange(14, 40), rng.uniform(0.6, 1.1)
    key.noise = rng.uniform(0.1, 0.3)

    def day(day, out):
        number = usual * (times if day >= onset else 1) * min(1.6, max(0.6, key.activity(day, weekend)))
        key.clients(out, day, int(number), [key.home], at=13)
    return day


def leaked(key, days, countries=1, hidden=False, least=40, most=200):
    """A key that somebody found: used from a country that isn't declared, on so many days of seven, beside its owner's
    requests. 40 to 200 requests a day, since who found it wants to use it; never less than a twentieth of the day."""
    rng, onset = key.rng, begin(key)
    owner = rng.choice((service, office, remote))(key)
    on = {onset} | {onset + day for day in rng.sample(range(1, 7), days - 1)}
    daily, used, thieves = rng.randrange(least, most), program(rng.choice(SDKS[:4] + TOOLS[:4]), rng), []

    def day(day, out):
        owner(day, out)
        if day not in on:
            return
        while len(thieves) < countries:
            country = key.abroad(border=False)
            if country not in [thief[0].origin for thief in thieves]:
                place = key.world.vpn if hidden else key.world.home
                thieves.append([place(country, rng) for _ in range(3)])
        for places in thieves:
            for _ in range(max(daily, len(out) // 20)):
                key.request(out, key.any_time(day), rng.choice(places), used)
    return day


# exempt


def reseller(key):
    """A registered reseller: people of many countries and programs, ten times as many from some day on."""
    key.reseller = True
    passed, grown = relay(key, programs=12, at_once=64), resold(key, 10)

    def day(day, out):
        passed(day, out)
        grown(day, out)
    return day


def bound(key):
    """A credential that is bound to the networks that it comes from; what it does there is a relay's traffic."""
    place = key.world.sase(key.home, key.rng)
    key.networks = [place.address]
    return relay(key, programs=12, at_once=64, place=place)


def certified(key):
    """A customer known by its certificate."""
    key.certificate = True
    return relay(key, programs=12, at_once=64)


def of(function, *arguments, **settings):
    return lambda key: function(key, *arguments, **settings)


HONEST = [
    ("office", 40, office), ("office behind a SASE", 36, behind_sase), ("team at home", 28, remote),
    ("branch offices", 18, branches), ("service", 30, service), ("busy service", 15, busy_service),
    ("many services", 14, many_services), ("two regions", 18, two_regions), ("declared countries", 18, countries),
    ("mobile application", 10, application), ("VPN on and off", 15, vpn), ("launch", 8, launch), ("growth", 8, growth),
    ("migration", 12, migration), ("traveller", 12, traveller), ("chat server", 8, chat_server), ("agents", 7, agents),
    ("closed office", 3, closed_office),
]
HIDING = [
    *(("relay, marks passed on", f"{n} programs", 6, of(relay, programs=n)) for n in (4, 8, 12)),
    *(("relay, marks passed on", f"{n} in flight", 6, of(relay, at_once=n)) for n in (16, 32, 64)),
    ("relay, marks ironed out", "from one network", 6, of(relay, at_once=100, ironed=True)),
    ("relay, marks ironed out", "from homes", 4, ironed_behind_homes),
    *(("resold", f"{n} times", 6, of(resold, n)) for n in (3, 5, 10)),
    ("resold", "10 times, few systems", 4, of(resold, 10, SMALL)),
    ("resold", "from 3 networks to 30", 4, of(resold, 10, usual=3)),
    ("resold", "from the first day on", 4, of(resold, 10, from_start=True)),
    *(("leaked", f"{n} day" + "s" * (n > 1), 6, of(leaked, n)) for n in (1, 3, 5)),
    ("leaked", "5 days, 20 to 40 requests", 6, of(leaked, 5, least=20, most=40)),
    ("leaked", "5 days, two countries", 6, of(leaked, 5, countries=2)),
    ("leaked", "5 days, through a VPN", 4, of(leaked, 5, hidden=True)),
]
EXEMPT = [("registered reseller", 6, reseller), ("bound to networks", 4, bound), ("known by a certificate", 3, certified)]
SILENT = [("several countries, none declared", 2, silent), ("traveller for weeks, not told", 2, of(traveller, weeks=True))]
KINDS = ([("honest", kind, "", number, play) for kind, number, play in HONEST]
         + [("hiding", *row) for row in HIDING]
         + [("silent", kind, "", number, play) for kind, number, play in SILENT]
         + [("exempt", kind, "", number, play) for kind, number, play in EXEMPT])
