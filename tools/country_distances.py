"""Makes data/country-distances.json from a map. Nobody needs it but who changes the map or the rules below:

    npm pack world-atlas@2.0.2 && tar -xzf world-atlas-2.0.2.tgz package/countries-10m.json
    pip install pycountry==26.2.16 numpy==2.4.6 scipy==1.17.1
    python tools/country_distances.py package/countries-10m.json > data/country-distances.json
"""

import json
import sys
from pathlib import Path

import numpy
import pycountry
from scipy.spatial import cKDTree

EARTH = 6371.0  # km, the mean radius
SPACING = 5.0  # km: no two points beside each other on an outline are further apart
STEP = 10  # km
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# Land that the map has without a number of ISO 3166-1, and land that counts for two countries.
LAND = {
    "Akrotiri": ["CY"],
    "Baikonur": ["KZ"],
    "Cyprus U.N. Buffer Zone": ["CY"],
    "Dhekelia": ["CY"],
    "Kosovo": ["XK"],
    "N. Cyprus": ["CY", "TR"],
    "Siachen Glacier": ["IN", "PK"],
    "Somaliland": ["SO"],
    "USNB Guantanamo Bay": ["CU"],
    "W. Sahara": ["EH", "MA"],
}
UNINHABITED = {
    "Ashmore and Cartier Is.",
    "Bajo Nuevo Bank",
    "Clipperton I.",
    "Coral Sea Is.",
    "Scarborough Reef",
    "Serranilla Bank",
    "Spratly Is.",
}
# Parts of a country's outline that count for others: west, south, east, north.
PARTS = {
    "France": [
        ((-55, 2, -51, 6), ["GF"]),
        ((-61.3, 14.3, -60.7, 15), ["MQ"]),
        ((-62, 15.8, -60.9, 16.6), ["GP"]),
        ((55, -22, 56, -20), ["RE"]),
        ((45, -13.1, 45.4, -12.6), ["YT"]),
    ],
    "Netherlands": [((-69, 12, -62, 18), ["BQ"])],
    "Norway": [((-10, 70.5, -7, 72), ["SJ"]), ((10, 74, 35, 81), ["SJ"]), ((3, -55, 4, -54), ["BV"])],
    "New Zealand": [((-173, -10, -171, -8), ["TK"])],
    "Indian Ocean Ter.": [((96, -13, 97, -12), ["CC"]), ((105, -11, 106, -10), ["CX"])],
    "Russia": [((32, 44, 37, 46.3), ["RU", "UA"])],  # Crimea
}

DOC = [
    "The shortest way between two countries, for `waybill sharing`: whether one person can have been in both. "
    "The desk reads it, the filter never does.",
    "tens_of_km: the row of a code has two base-36 digits for each code before it in the order of the alphabet: "
    "the distance between the nearest points of both, in tens of kilometres, rounded down. 00 is a common border, "
    "or water of less than 10 km. zz is 12,950 km or more.",
    "Great circles on a sphere of 6,371 km; the map's points are up to 5 km apart, and true to about 400 m. "
    "Against the true shape of the earth a distance is wrong by half a percent at most.",
    "What has a code of its own isn't part of its country: GF, GP, MQ, RE and YT of FR; BQ of NL; BV and SJ of NO; "
    "TK of NZ; CC and CX of AU; HK, MO and TW beside CN; GI and the other territories beside GB; PR and others beside US.",
    "What has none is part of it: Alaska and Hawaii (so US and RU are 00, across the Bering Strait), the Canaries, "
    "Ceuta and Melilla (so ES and MA are 00), Madeira and the Azores, the Galapagos. Remote islands of a "
    "country count, also where hardly anybody lives: AU and NZ are 610 km apart by Macquarie Island.",
    "Land that two govern or claim counts for both, since tables of addresses differ there, and a distance can only "
    "become shorter by it: Crimea for UA and RU, Northern Cyprus for CY and TR, Western Sahara for EH and MA, "
    "the Siachen Glacier for IN and PK. Elsewhere the map's borders are those of who is in control.",
    "Foreign bases count for the country they lie in (Guantanamo, Akrotiri, Dhekelia, Baikonur). Left out, since nobody "
    "lives there: Ashmore and Cartier, Coral Sea Islands, Clipperton, Spratlys, Scarborough, Bajo Nuevo, Serranilla.",
]
SOURCE = (
    "Natural Earth 1:10m, admin 0 countries (public domain), in npm world-atlas 2.0.2 countries-10m.json; "
    "numbers of ISO 3166-1 by PyPI pycountry 26.2.16; made by tools/country_distances.py"
)


def main() -> None:
    outlines = read_outlines(json.loads(Path(sys.argv[1]).read_bytes()))
    codes = sorted(outlines)
    unknown = {country.alpha_2 for country in pycountry.countries} - set(codes)
    if unknown:
        sys.exit(f"the map has no land for {sorted(unknown)}")
    points = {code: spaced(outlines[code]) for code in codes}
    trees = {code: cKDTree(points[code]) for code in codes}
    rows = {}
    for place, code in enumerate(codes):
        rows[code] = "".join(digits(distance(points, trees, code, other)) for other in codes[:place])
    text = json.dumps({"schema": 1, "doc": DOC, "source": SOURCE, "tens_of_km": rows}, indent=1, ensure_ascii=False)
    print(text)


def read_outlines(topology: dict) -> dict[str, list]:
    """The rings of each code, as arrays of longitude and latitude."""
    scale, translate = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [numpy.cumsum(arc, axis=0) * scale + translate for arc in topology["arcs"]]
    numbers = {country.numeric: country.alpha_2 for country in pycountry.countries}
    outlines: dict[str, list] = {}
    for shape in topology["objects"]["countries"]["geometries"]:
        name = shape["properties"]["name"]
        if name in UNINHABITED:
            continue
        for polygon in shape["arcs"] if shape["type"] == "MultiPolygon" else [shape["arcs"]]:
            rings = [numpy.concatenate([arcs[n] if n >= 0 else arcs[~n][::-1] for n in ring]) for ring in polygon]
            for code in part(name, rings[0]) or LAND.get(name) or [numbers[shape["id"]]]:
                outlines.setdefault(code, []).extend(rings)
    return outlines


def part(name: str, ring) -> list[str] | None:
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    for box, codes in PARTS.get(name, []):
        if box[0] <= west and box[1] <= south and east <= box[2] and north <= box[3]:
            return codes
    return None


def spaced(rings: list):
    """Points of the unit sphere along all rings, close together."""
    dense = []
    for ring in rings:
        for start, end in zip(ring, ring[1:], strict=False):
            gap = EARTH * numpy.linalg.norm(sphere(start) - sphere(end))
            dense.append(start + (end - start) * numpy.linspace(0, 1, int(gap // SPACING) + 1, endpoint=False)[:, None])
    return sphere(numpy.concatenate(dense))


def sphere(places):
    longitude, latitude = numpy.radians(places[..., 0]), numpy.radians(places[..., 1])
    flat = numpy.cos(latitude)
    return numpy.stack([flat * numpy.cos(longitude), flat * numpy.sin(longitude), numpy.sin(latitude)], axis=-1)


def distance(points: dict, trees: dict, one: str, other: str) -> float:
    few, many = sorted((one, other), key=lambda code: len(points[code]))
    bound = trees[many].query(points[few][:: len(points[few]) // 50 + 1])[0].min()
    chord = trees[many].query(points[few], distance_upper_bound=bound + 1e-12)[0].min()
    return 2 * EARTH * numpy.arcsin(chord / 2)


def digits(km: float) -> str:
    steps = min(int(km // STEP), 36 * 36 - 1)
    return DIGITS[steps // 36] + DIGITS[steps % 36]


if __name__ == "__main__":
    main()
