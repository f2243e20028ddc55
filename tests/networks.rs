//! Network sources: what the merged table says of an address is what its sources say, whatever the
//! files.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking"
)]

mod mmdb;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use waybill::compile::networks::{MAX_COUNTRY_SOURCES, MAX_LISTS, Networks, merge};
use waybill::compile::remarks::Remarks;
use waybill::compile::settings::{NetworkSource, Settings};
use waybill::shape::{Problems, read_document};
use waybill::snapshot::map::AddressMap;
use waybill::terms::network::embedded_v4;

const COUNTRY_DB: &[u8] = include_bytes!("data/mmdb/GeoLite2-Country-Test.mmdb");
const CITY_DB: &[u8] = include_bytes!("data/mmdb/GeoLite2-City-Test.mmdb");
const ASN_DB: &[u8] = include_bytes!("data/mmdb/GeoLite2-ASN-Test.mmdb");

/// Sources by the members of their JSON beyond name, file and date, and the bytes of their files.
fn merged(sources: &[(&str, &[u8])]) -> Result<Networks, String> {
    let name = |i: usize, says: &str| {
        if says == TEXT { format!("networks/{i}.txt") } else { format!("networks/{i}") }
    };
    let entries: Vec<String> = sources
        .iter()
        .enumerate()
        .map(|(i, (says, _))| {
            format!(
                r#"{{"name": "s{i}", "file": "{}", "date": "2026-01-01T00:00:00Z"{says}}}"#,
                name(i, says)
            )
        })
        .collect();
    let files = sources
        .iter()
        .enumerate()
        .map(|(i, (says, bytes))| (name(i, says), bytes.to_vec()))
        .collect();
    merged_from(&settings(&entries.join(", ")), &files)
}

fn merged_from(
    sources: &[NetworkSource],
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Networks, String> {
    let mut remarks = Remarks::default();
    let merged = merge(sources, files, &mut remarks);
    assert_eq!(merged.is_none(), remarks.count() > 0);
    merged.ok_or_else(|| remarks.errors.iter().map(|remark| format!("{remark}\n")).collect())
}

fn settings(networks: &str) -> Vec<NetworkSource> {
    let mut problems = Problems::default();
    let read = read_document::<Settings>(
        &format!(r#"{{"schema": 1, "networks": [{networks}]}}"#),
        &mut problems,
    );
    assert!(problems.is_empty(), "{problems}");
    read.unwrap().0.networks
}

const TOR: &str = r#", "class": "tor""#;
const ASN: &str = r#", "gives": "asn""#;
const COUNTRIES: &str = "";
/// Networks with their countries, in a file whose name says so
const TEXT: &str = r#", "role": "hints""#;

fn refused(sources: &[(&str, &[u8])]) -> String {
    merged(sources).unwrap_err()
}

fn place(table: &AddressMap, source: usize, address: &str) -> Option<String> {
    table.look_up(address.parse().unwrap()).unwrap().places[source].map(|place| place.to_string())
}

#[test]
fn official_databases_say_what_they_say_elsewhere() {
    let networks = merged(&[(COUNTRIES, COUNTRY_DB), (COUNTRIES, CITY_DB), (ASN, ASN_DB)]).unwrap();
    let table = &networks.table;
    assert_eq!(place(table, 0, "81.2.69.142").as_deref(), Some("GB"));
    assert_eq!(place(table, 1, "81.2.69.142").as_deref(), Some("GB-ENG"));
    assert_eq!(place(table, 1, "2001:218::1").as_deref(), Some("JP"));
    assert_eq!(place(table, 0, "127.0.0.1"), None);
    // 1.128.0.0/11 is AS 1221 there
    assert_eq!(table.look_up("1.128.0.1".parse().unwrap()).unwrap().asn, Some(1221));
    // one address by all its spellings: as it is, mapped, 6to4, behind Teredo
    for address in [
        "81.2.69.142",
        "::ffff:81.2.69.142",
        "2002:5102:458e::1",
        "2001:0:102:304:8000:1:aefd:ba71",
    ] {
        assert_eq!(place(table, 0, address).as_deref(), Some("GB"), "{address}");
    }
    assert_eq!(networks.sources.iter().map(|source| source.unannounced.len()).sum::<usize>(), 0);
}

/// A leaf high in the tree holds for all that lies below it, IPv4 too.
#[test]
fn leaves_above_the_halves_of_a_tree() {
    let mut tree = mmdb::Tree::default();
    tree.insert(0, 64, &mmdb::country("SG"));
    tree.insert(0x2000 << 112, 3, &mmdb::nested_country("JP"));
    let table = merged(&[(COUNTRIES, &tree.file())]).unwrap().table;
    let expected = [
        ("0.0.0.0", "SG"),
        ("255.255.255.255", "SG"),
        ("2002:102:304::", "SG"),
        ("2000::", "JP"),
        ("2001:1::", "JP"),
        ("3fff::", "JP"),
    ];
    for (address, country) in expected {
        assert_eq!(place(&table, 0, address).as_deref(), Some(country), "{address}");
    }
    assert_eq!((place(&table, 0, "4000::"), place(&table, 0, "::1:0:0:0:0")), (None, None));
    assert_eq!((table.v4.len(), table.v6.len()), (1, 13)); // with gaps where addresses embed others

    let half = mmdb::file(4, &[[1, 1 + 16]], &mmdb::country("SG"));
    let table = merged(&[(COUNTRIES, &half)]).unwrap().table;
    assert_eq!(
        (place(&table, 0, "127.255.255.255"), place(&table, 0, "128.0.0.0").as_deref()),
        (None, Some("SG"))
    );
    assert_eq!(place(&table, 0, "8000::"), None);
}

#[test]
fn codes_that_are_not_in_use_say_nothing() {
    for code in ["EU", "AP", "XX", "T1", "AN", "", "SGP", "SG-"] {
        assert!(
            refused(&[(COUNTRIES, &mmdb::file(4, &[[1, 17]], &mmdb::country(code)))])
                .contains("no country in this MMDB file"),
            "{code}"
        );
    }
    // `country` is a name in some files of the flat layout
    let record = b"\xe2\x47country\x49Singapore\x4ccountry_code\x42SG";
    let table = merged(&[(COUNTRIES, &mmdb::file(4, &[[1, 17]], record))]).unwrap().table;
    assert_eq!(place(&table, 0, "128.0.0.0").as_deref(), Some("SG"));
}

/// What a file says whose one record is that: of the second half of IPv4.
fn said(record: &serde_json::Value) -> Option<String> {
    let file = mmdb::file(4, &[[1, 17]], &mmdb::record(record));
    match merged(&[(COUNTRIES, &file)]) {
        Ok(networks) => place(&networks.table, 0, "128.0.0.0"),
        Err(refused) => {
            assert!(refused.contains("networks/0: no country in this MMDB file"), "{refused}");
            assert!(
                refused.contains("expected records with `country.iso_code` or `country_code`"),
                "{refused}"
            );
            None
        }
    }
}

#[test]
fn a_country_in_any_layout() {
    for (record, expected) in [
        (json!({"country": "CN", "country_name": "China"}), Some("CN")),
        (json!({"country": "cn"}), Some("CN")),
        (json!({"country": "China"}), None),
        (json!({"country": {"iso_code": "SG", "names": {"en": "Singapore"}}}), Some("SG")),
        (json!({"country": {"names": {"en": "Singapore"}}}), None),
        (json!({"country": "Singapore", "country_code": "SG"}), Some("SG")),
        (json!({"country_code": "", "country": {"iso_code": "SG"}}), Some("SG")),
        (json!({"registered_country": {"iso_code": "SG"}}), None),
        (json!({"registered_country": {"iso_code": "SG"}, "country": {"geoname_id": 1}}), None),
        (json!({"registered_country": "SG", "represented_country": {"iso_code": "SG"}}), None),
        (json!({"country_code": 702}), None),
        (json!({"country": ["SG"]}), None),
        (json!({"country": true, "subdivisions": "x"}), None),
        (json!({"geoname_id": 1}), None),
        (json!("SG"), None),
        (json!(["SG"]), None),
        (json!(7), None),
    ] {
        assert_eq!(said(&record).as_deref(), expected, "{record}");
    }
}

#[test]
fn parts_by_name_or_code_in_any_layout() {
    let nested = |subdivisions: serde_json::Value| json!({"country": {"iso_code": "UA"}, "subdivisions": subdivisions});
    for (record, expected) in [
        (nested(json!([{"names": {"en": "Crimea"}}])), "UA-43"),
        (nested(json!([{"names": {"en": "Autonomous Republic of Crimea"}}])), "UA-43"),
        (nested(json!([{"names": {"uk": "Крим"}}])), "UA-43"),
        (nested(json!([{"names": {"en": "Donets'ka Oblast'"}}])), "UA-14"),
        (nested(json!([{"name": "Luhansk"}])), "UA-09"),
        (nested(json!([{"iso_code": "UA-43"}])), "UA-43"),
        (nested(json!([{"iso_code": "ua-43"}])), "UA-43"),
        (nested(json!([{"iso_code": 43}])), "UA-43"),
        (nested(json!([{"iso_code": 9}])), "UA-09"),
        (nested(json!([{"iso_code": "43", "names": {"en": "Crimea"}}])), "UA-43"),
        // another scheme's code beside the name
        (nested(json!([{"iso_code": "11", "names": {"en": "Crimea"}}])), "UA-43"),
        (nested(json!([{"iso_code": "46"}, {"names": {"en": "Sevastopol City"}}])), "UA-40"),
        (nested(json!([{"names": {"en": "Lviv Oblast"}}, {"iso_code": "14"}])), "UA-14"),
        (nested(json!([{"names": {"en": "Lviv Oblast"}}, {"iso_code": "46"}])), "UA-46"),
        (nested(json!(["Crimea"])), "UA-43"),
        (nested(json!("Sevastopol")), "UA-40"),
        (nested(json!([{"names": {"en": "Lviv Oblast"}}])), "UA"),
        (nested(json!([{"iso_code": "RU-43"}])), "UA"),
        (nested(json!([])), "UA"),
        (nested(json!([[["Crimea"]], {"names": ["Crimea"]}, {"geoname_id": 43}, true])), "UA-43"),
        (json!({"country_code": "UA", "region": "Crimea", "region_code": "43"}), "UA-43"),
        (json!({"country_code": "UA", "region_code": "43"}), "UA-43"),
        (json!({"country_code": "UA", "region_code": 43}), "UA-43"),
        (json!({"country_code": "UA", "region_code": "UA-43"}), "UA-43"),
        (json!({"country_code": "UA", "region": "UA-43"}), "UA-43"),
        (json!({"country_code": "UA", "region": "43"}), "UA-43"),
        (json!({"country_code": "UA", "region": "Luhansk Oblast"}), "UA-09"),
        (json!({"country": "UA", "region": "Donetsk"}), "UA-14"),
        (
            json!({"country_code": "UA", "state1": "Donetsk Oblast", "state2": "Mariupol Raion"}),
            "UA-14",
        ),
        (json!({"country_code": "UA", "subdivisions": [{"names": {"en": "Sevastopol"}}]}), "UA-40"),
        (json!({"country_code": "UA", "subdivisions": ["Sevastopol"]}), "UA-40"),
        (json!({"country_code": "UA", "region": "Lviv", "region_code": ""}), "UA"),
        (json!({"country_code": "US", "region_code": "OR", "region": "Oregon"}), "US-OR"),
        (json!({"country_code": "FR", "region": "Var"}), "FR"),
        // a city there, and a region of another country
        (json!({"country_code": "RU", "region": "Donetsk"}), "RU"),
        (json!({"country_code": "RU", "region_code": "UA-43"}), "RU"),
    ] {
        assert_eq!(said(&record).as_deref(), Some(expected), "{record}");
    }
}

#[test]
fn parts_by_their_codes() {
    let by = |country: &str, code: &str| {
        said(&json!({"country_code": country, "region_code": code})).unwrap()
    };
    for (code, expected) in [
        ("43", "UA-43"),
        ("UA-43", "UA-43"),
        ("ua-43", "UA-43"),
        (" UA-43 ", "UA-43"),
        ("UA_43", "UA-43"),
        ("9", "UA-09"),
        ("UA-9", "UA-09"),
        ("46", "UA-46"),
    ] {
        assert_eq!(by("UA", code), expected, "{code}");
    }
    for none in ["", "-", "UA-", "RU-43", "UA-43-1", "UA-UA-43", "4 3"] {
        assert_eq!(by("UA", none), "UA", "{none}");
    }
    assert_eq!(by("GB", "ENG"), "GB-ENG");
    assert_eq!(by("CH", "-"), "CH");
}

/// A code that may also be a name counts only where its part has names.
#[test]
fn every_restricted_part_has_names() {
    let data: serde_json::Value =
        serde_json::from_str(include_str!("../data/regions.json")).unwrap();
    let lists =
        data["sets"].as_array().unwrap().iter().filter_map(|set| set.get("supported_except"));
    let parts: Vec<&str> = lists
        .flat_map(|list| list.as_array().unwrap())
        .flat_map(|except| except["subdivisions"].as_array().unwrap())
        .map(|part| part.as_str().unwrap())
        .collect();
    assert!(parts.contains(&"UA-43"));
    for part in parts {
        let (country, code) = part.split_once('-').unwrap();
        let found = said(&json!({"country_code": country, "region": code}));
        assert_eq!(found.as_deref(), Some(part));
    }
}

#[test]
fn parts_by_their_names() {
    let part = |country: &str, name: &str| {
        said(&json!({"country_code": country, "region_name": name})).unwrap()
    };
    for (code, names) in [
        (
            "UA-43",
            &[
                "Crimea",
                " crimea ",
                "Autonomous Republic of Crimea",
                "Republic of Crimea",
                "Crimea, Autonomous Republic of",
                "Avtonomna Respublika Krym",
                "Respublika Krym",
                "AR Krym",
                "Krim",
                "Crimée",
                "Crime\u{301}e",
                "República Autónoma de Crimea",
                "Crimeia",
                "Автономна Республіка Крим",
                "Республика Крым",
                "克里米亚自治共和国",
                "CRIMEA (UKRAINE)",
            ][..],
        ),
        (
            "UA-40",
            &[
                "Sevastopol",
                "Sevastopol'",
                "Sevastopol City",
                "City of Sevastopol",
                "Misto Sevastopol’",
                "Sevastopol, city with special status",
                "Севастополь",
            ],
        ),
        (
            "UA-14",
            &[
                "Donetsk",
                "Donets'k",
                "Donetsʹk",
                "Donetsk Oblast",
                "Donets'ka Oblast'",
                "Donetska oblast",
                "Donetskaya Oblast",
                "Oblast Donezk",
                "Donetsk People's Republic",
                "Donetsk_Oblast",
                "Донецька область",
                "Донецкая область",
            ],
        ),
        (
            "UA-09",
            &[
                "Luhansk",
                "Luhans'k",
                "Lugansk",
                "Luhanska oblast",
                "Luhans`ka Oblast",
                "Luganskaya Oblast",
                "Oblast de Louhansk",
                "Луганська область",
            ],
        ),
    ] {
        for name in names {
            assert_eq!(part("UA", name), code, "{name}");
            assert_eq!(part("RU", name), "RU", "{name}");
        }
    }
    for other in [
        "Lviv Oblast",
        "Kherson",
        "Kyiv City",
        "Zaporizhzhia Oblast",
        "Odesa",
        "",
        "'",
        "Oblast",
        "Autonomous Republic of",
        "Sumy",
    ] {
        assert_eq!(part("UA", other), "UA", "{other}");
    }
}

#[test]
fn as_numbers_in_any_layout() {
    let asn = |record: serde_json::Value| {
        let networks = merged(&[(ASN, &mmdb::file(4, &[[1, 17]], &mmdb::record(&record)))]);
        networks.map(|networks| networks.table.look_up("128.0.0.0".parse().unwrap()).unwrap().asn)
    };
    assert_eq!(asn(json!({"autonomous_system_number": 64500})), Ok(Some(64500)));
    assert_eq!(asn(json!({"asn": "AS64500", "as_name": "Example"})), Ok(Some(64500)));
    assert_eq!(asn(json!({"asn": 64500})), Ok(Some(64500)));
    for none in [
        json!({"autonomous_system_number": "no number"}),
        json!({"asn": "AS0"}),
        json!({"asn": {}}),
        json!("AS64500"),
    ] {
        let refused = asn(none).unwrap_err();
        assert!(
            refused.contains(
                "no AS number in this MMDB file\n  help: expected records with `autonomous_system_number`"
            ),
            "{refused}"
        );
    }
}

#[test]
fn which_countries_a_source_divides() {
    let undivided = |sources: &[(&str, &[u8])]| -> Vec<Vec<String>> {
        let networks = merged(sources).unwrap();
        networks
            .sources
            .iter()
            .map(|source| source.undivided.iter().map(ToString::to_string).collect())
            .collect()
    };
    let mut tree = mmdb::Tree::default();
    for (i, record) in [
        json!({"country_code": "UA"}),
        json!({"country_code": "UA", "region": "Lviv Oblast"}),
        json!({"country_code": "JP"}),
    ]
    .iter()
    .enumerate()
    {
        tree.insert(V6 + ((i as u128) << 64), 64, &mmdb::record(record));
    }
    assert_eq!(
        undivided(&[(COUNTRIES, &tree.file()), (TOR, b"192.0.2.1\n")]),
        [vec!["JP"], vec![]]
    );
    assert_eq!(undivided(&[(TEXT, b"192.0.2.0/24 UA\n198.51.100.0/24 JP\n")]), [["JP", "UA"]]);
    assert_eq!(undivided(&[(TEXT, b"192.0.2.0/24 UA\n198.51.100.0/24 UA-46\n")]), [[""; 0]]);
    assert_eq!(undivided(&[(TEXT, b"192.0.2.0/24,UA,,,\n198.51.100.0/24,JP,Tokyo,,\n")]), [["UA"]]);
}

#[test]
fn feeds_are_texts_of_countries() {
    let feed = b"# prefix,country,region,city,postal\r\n203.0.113.0/25,UA,UA-43,Kerch,\r\n203.0.113.128/25,US,US-OR,Salem,97301\r\n\
        192.0.2.0/25,JP,,,\n192.0.2.128/25, jp , , ,\n198.51.100.0/26,,,,\n198.51.100.64/26,JP\n198.51.100.128/26,SG,\n198.51.100.192/26\n\
        2001:db8::/33,UA,ua-14,Donetsk,\n2001:db8:8000::/33,\"UA\",\"Luhansk Oblast\",\"A, B\",\"\"\n10.0.0.0/8,US\n10.1.0.0/16,,,,\n\
        11.0.0.0/8,RU,UA-43,Simferopol,\n12.0.0.0/8,UA,Lviv,Lviv,79000,more\n13.0.0.0/8,,UA-43,,\n14.0.0.0/8,ZZ,,,\n\
        15.0.0.1,US,US-WA,Seattle,# a comment\n2001:db9::1,UA,43,,\n16.0.0.0/8,UA,UA-46,Lviv,\n";
    let networks = merged(&[(TEXT, feed)]).unwrap();
    for (address, expected) in [
        ("203.0.113.9", Some("UA-43")),
        ("203.0.113.200", Some("US-OR")),
        ("192.0.2.9", Some("JP")),
        ("192.0.2.200", Some("JP")),
        ("198.51.100.9", None),
        ("198.51.100.65", Some("JP")),
        ("198.51.100.129", Some("SG")),
        ("198.51.100.200", None),
        ("2001:db8::1", Some("UA-14")),
        ("2001:db8:8000::1", Some("UA-09")),
        ("10.0.0.1", Some("US")),
        ("10.1.0.1", None), // the smaller one counts
        ("10.2.0.1", Some("US")),
        ("11.0.0.1", Some("RU")),
        ("12.0.0.1", Some("UA")),
        ("13.0.0.1", None),
        ("14.0.0.1", None),
        ("15.0.0.1", Some("US-WA")),
        ("2001:db9::1", Some("UA-43")),
        ("16.0.0.1", Some("UA-46")),
    ] {
        assert_eq!(place(&networks.table, 0, address).as_deref(), expected, "{address}");
    }
    assert_eq!(networks.sources[0].networks, 14);
    let wrong =
        refused(&[(TEXT, b"10.0.0.1/8,US,,,\n10.0.0.0/8,UK,,,\n11.0.0.0/8,US,,,\n11.0.0.0/8,,,,\nprefix,country,region,city,postal\n")]);
    for expected in [
        "0.txt:1: invalid network `10.0.0.1/8`",
        "0.txt:2: unknown country code `UK`",
        "0.txt:4: duplicate network: line 3 says US",
        "0.txt:5: invalid network `prefix`",
    ] {
        assert!(wrong.contains(expected), "{expected} in {wrong}");
    }
    assert!(
        refused(&[(TEXT, b"10.0.0.0/8,,,,\n11.0.0.0/8\n")])
            .contains("0.txt: no line gives a country")
    );
    assert!(
        refused(&[(TEXT, b"10.0.0.0/8 SG # a, b, c\n11.0.0.0/8\n")])
            .contains("0.txt:2: invalid line `11.0.0.0/8`: expected a network and a country")
    );
}

#[test]
fn the_first_source_of_as_numbers_that_knows_one_counts() {
    let (low, high) =
        (mmdb::file(4, &[[17, 1]], &mmdb::asn(1)), mmdb::file(4, &[[17, 17]], &mmdb::asn(2)));
    let table = merged(&[(ASN, &low), (ASN, &high)]).unwrap().table;
    let asn = |address: &str| table.look_up(address.parse().unwrap()).unwrap().asn;
    assert_eq!((asn("127.0.0.1"), asn("128.0.0.1")), (Some(1), Some(2)));
}

#[test]
fn addresses_that_embed_others() {
    let embedded =
        |text: &str| embedded_v4(text.parse().unwrap()).map(|address| address.to_string());
    assert_eq!(embedded("::192.0.2.1").as_deref(), Some("192.0.2.1"));
    // RFC 4380's own form
    assert_eq!(embedded("2001:0:4136:e378:8000:63bf:3fff:fdd2").as_deref(), Some("192.0.2.45"));
    assert_eq!(embedded("2001:1::1"), None);
    assert_eq!(embedded("::1"), None);
    assert_eq!(embedded("::"), None);
    assert_eq!(embedded("64:ff9b::192.0.2.1").as_deref(), Some("192.0.2.1")); // NAT64, and SIIT
    assert_eq!(embedded("::ffff:0:192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(embedded("2002:c000:201::1").as_deref(), Some("192.0.2.1"));
    // beside each
    for other in [
        "64:ff9b:1::192.0.2.1",
        "64:ff9b::1:0:192.0.2.1",
        "::fffe:0:192.0.2.1",
        "::1:ffff:0:192.0.2.1",
        "2001:db8::192.0.2.1",
    ] {
        assert_eq!(embedded(other), None, "{other}");
    }
}

#[test]
fn a_list_takes_networks_addresses_and_as_numbers() {
    let list = b"\xef\xbb\xbf# head\r\n203.0.113.0/24 # all\r\n\r\n203.0.113.7\r\n2001:db8::/32\r\n::ffff:198.51.100.0/120\r\nAS1221\r\nas64500\r\n";
    let networks = merged(&[(TOR, list), (ASN, ASN_DB)]).unwrap();
    let listed =
        |address: &str| networks.table.look_up(address.parse().unwrap()).unwrap().lists == 1;
    for address in [
        "203.0.113.0",
        "203.0.113.255",
        "2001:db8::1",
        "198.51.100.200",
        "1.128.0.0",
        "1.159.255.255",
    ] {
        assert!(listed(address), "{address}");
    }
    for address in ["203.0.112.255", "203.0.114.0", "1.127.255.255", "1.160.0.0", "2001:db9::"] {
        assert!(!listed(address), "{address}");
    }
    assert_eq!(networks.sources[0].unannounced, [64500]);
}

#[test]
fn the_order_of_lines_and_repetitions_change_nothing() {
    let one = merged(&[(TOR, b"10.0.0.0/8\n10.1.0.0/16\n10.0.0.1\n11.0.0.0/8\n")]).unwrap();
    let other = merged(&[(TOR, b"11.0.0.0/8\n10.0.0.1\n10.0.0.0/8\n10.0.0.0/8\n")]).unwrap();
    assert_eq!(one.table, other.table);
    assert_eq!(one.table.v4.len(), 3);
}

#[test]
fn networks_with_their_countries_may_be_text() {
    let text = b"# by hand\n::/0 SG\nffff::/16 JP\n10.0.0.0/8,CN # carries a comment\n10.1.0.0/16 UA-43\n10.1.2.3,JP\n10.1.2.3/32 JP\n";
    let networks = merged(&[(TEXT, text), (COUNTRIES, COUNTRY_DB)]).unwrap();
    let expected = [
        ("10.0.0.1", "CN"),
        ("10.1.0.1", "UA-43"),
        ("10.1.2.3", "JP"),
        ("10.1.2.4", "UA-43"),
        ("10.2.0.0", "CN"),
        ("4000::", "SG"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "JP"),
    ];
    for (address, country) in expected {
        assert_eq!(place(&networks.table, 0, address).as_deref(), Some(country), "{address}");
    }
    assert_eq!((place(&networks.table, 0, "11.0.0.0"), networks.sources[0].networks), (None, 5));
}

#[test]
fn mistakes_are_named_all_at_once() {
    let problems = refused(&[
        (TOR, b"10.0.0.1/8\n# fine\n1.2.3.0/24\nnonsense\nAS0\nAS4294967296\nAS64500\n"),
        (TOR, b"\n# nothing\n"),
        (TOR, COUNTRY_DB),
        (COUNTRIES, b"1.2.3.0/24\n"),
        (COUNTRIES, ASN_DB),
        (ASN, COUNTRY_DB),
        (r#", "class": "vpn", "gives": "asn""#, b"1.2.3.4"),
    ]);
    for expected in [
        "networks/0:1: invalid network `10.0.0.1/8`\n  help: it has bits beyond its prefix; did you mean `10.0.0.0/8`?",
        "networks/0:4: invalid network `nonsense`",
        "networks/0:5: invalid AS number `AS0`",
        "networks/0:6: invalid AS number `AS4294967296`",
        "networks/1: empty file",
        "networks/2: not a text file",
        "networks/3: unreadable MMDB file: ",
        "networks/4: no country in this MMDB file",
        "networks/5: no AS number in this MMDB file",
        "register.json: $.networks[6].gives: `class` and `\"gives\": \"asn\"` exclude each other",
    ] {
        assert!(problems.contains(expected), "{expected}\n in \n{problems}");
    }
    assert!(!problems.contains("can't be resolved"), "a source of AS numbers is there: {problems}");
    assert!(
        refused(&[(TOR, b"1.2.3.4\nAS64500\n")])
            .contains("networks/0:2: `AS64500` can't be resolved: no source gives AS numbers")
    );
    let wrong = refused(&[(TOR, "x\n".repeat(1000).as_bytes())]);
    assert!(wrong.contains("980 more invalid lines") && wrong.lines().count() < 50, "{wrong}");
}

#[test]
fn settings_that_contradict_are_named() {
    let source = |name: &str, file: &str| {
        format!(
            r#"{{"name": "{name}", "file": "{file}", "class": "vpn", "date": "2026-01-01T00:00:00Z"}}"#
        )
    };
    let files = BTreeMap::from([("a".to_owned(), b"1.2.3.4\n".to_vec())]);
    let twice = settings(&[source("x", "a"), source("x", "b")].join(","));
    let problems = merged_from(&twice, &files).unwrap_err();
    assert!(problems.contains("register.json: $.networks[1].name: duplicate `x`"), "{problems}");
    assert!(problems.contains("register.json: $.networks[1].file: missing file `b`"), "{problems}");

    let one = |i: usize| {
        if i < MAX_LISTS + 1 { (TOR, b"1.2.3.4".as_slice()) } else { (COUNTRIES, COUNTRY_DB) }
    };
    let most: Vec<_> = (1..MAX_LISTS + 1 + MAX_COUNTRY_SOURCES).map(one).collect();
    let table = merged(&most).unwrap().table;
    assert_eq!(table.look_up("1.2.3.4".parse().unwrap()).unwrap().lists, u64::MAX);
    let more: Vec<_> = (0..MAX_LISTS + 2 + MAX_COUNTRY_SOURCES).map(one).collect();
    let problems = refused(&more);
    assert!(problems.contains("$.networks[64].name: too many lists: at most 64"), "{problems}");
    assert!(
        problems.contains("$.networks[81].name: too many sources of countries: at most 16"),
        "{problems}"
    );
}

#[test]
fn a_damaged_file_is_refused_or_read() {
    for length in 0..COUNTRY_DB.len() {
        assert!(merged(&[(COUNTRIES, &COUNTRY_DB[..length])]).is_err(), "{length} bytes");
    }
    for path in std::fs::read_dir("tests/data/mmdb/bad").unwrap().map(|entry| entry.unwrap().path())
    {
        let bytes = std::fs::read(&path).unwrap();
        // none has a country or an AS number that could be read
        assert!(
            merged(&[(COUNTRIES, &bytes)]).is_err() && merged(&[(ASN, &bytes)]).is_err(),
            "{}",
            path.display()
        );
    }
}

/// A tree whose branches meet again has 2^96 leaves after 96 nodes; no reader lives to see them
/// all.
#[test]
fn trees_that_never_end_are_refused() {
    let same: Vec<[u32; 2]> = (1..=96).map(|next| [next, next]).collect();
    for (last, what) in [
        ([0, 0], "a loop"),
        ([96, 96], "its own child"),
        ([97, 97], "empty"),
        ([97 + 16, 97 + 16], "data"),
    ] {
        let mut nodes = same.clone();
        nodes.push(last);
        assert!(
            merged(&[(COUNTRIES, &mmdb::file(6, &nodes, &mmdb::country("SG")))]).is_err(),
            "{what}"
        );
    }
}

proptest! {
    #[test]
    fn any_flipped_bytes_are_refused_or_read(
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        asn: bool,
    ) {
        let (kind, file) = if asn { (ASN, ASN_DB) } else { (COUNTRIES, COUNTRY_DB) };
        let mut bytes = file.to_vec();
        for (at, byte) in flips {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Ok(networks) = merged(&[(kind, &bytes)]) {
            sound(&networks.table);
        }
    }

    /// The sweep against asking each source about each address.
    #[test]
    fn the_table_is_what_each_source_says(sources in sources()) {
        let files: Vec<(&str, Vec<u8>)> = sources.iter().map(Source::file).collect();
        let files: Vec<(&str, &[u8])> = files.iter(
        ).map(|(says, bytes)| (*says, bytes.as_slice())).collect();
        let networks = merged(&files).unwrap();
        sound(&networks.table);
        for low in 0..=300_u32 {
            for address in [IpAddr::V4(Ipv4Addr::from_bits(V4 - 20 + low)),
                IpAddr::V6(Ipv6Addr::from_bits(V6 - 20 + u128::from(low)))] {
                let facts = networks.table.look_up(address).unwrap();
                let of = |kind: &'static str| sources.iter()
                    .filter(move |source| source.kind == kind);
                let places: Vec<_> = sources.iter()
                    .filter(|source| matches!(source.kind, "country" | "text"))
                    .map(|source| source.says(address).map(|value| CODES[value].to_owned()))
                    .collect();
                prop_assert_eq!(facts.places.iter()
                    .map(|place| place.map(|place| place.to_string())).collect::<Vec<_>>(), places);
                let asn = of(
                    "asn",
                ).find_map(|source| source.says(address)).map(|value| value as u32 + 1);
                prop_assert_eq!(facts.asn, asn);
                let listed: u64 = of("list").enumerate().map(|(i, list)| {
                    u64::from(list.says(address).is_some()
                        || asn.is_some_and(|asn| list.asns.contains(&asn))) << i
                }).sum();
                prop_assert_eq!(facts.lists, listed);
            }
        }
    }
}

/// What [`AddressMap`] promises.
fn sound(table: &AddressMap) {
    fn runs<A: Ord + Copy + Default + std::fmt::Debug>(runs: &[(A, u32)], facts: usize) {
        assert_eq!(runs[0].0, A::default());
        for pair in runs.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1, "{pair:?}");
        }
        assert!(runs.iter().all(|run| (run.1 as usize) < facts));
    }
    runs(&table.v4, table.facts.len());
    runs(&table.v6, table.facts.len());
    assert!(table.facts.windows(2).all(|pair| pair[0] < pair[1]));
    let nothing = &table.facts[0];
    assert!(
        nothing.places.iter().all(Option::is_none) && nothing.asn.is_none() && nothing.lists == 0
    );
}

// A world of 256 addresses in each family, so that networks meet often.
const V4: u32 = 0x0a00_0000;
const V6: u128 = 0x2001_0db8 << 96;
const CODES: [&str; 3] = ["SG", "CN", "JP"];

#[derive(Debug, Clone)]
struct Source {
    kind: &'static str,
    nested: bool,
    /// Whether IPv6, the low byte of the first address, the prefix's length in the last byte, which
    /// value
    networks: Vec<(bool, u8, u8, usize)>,
    /// On a list
    asns: Vec<u32>,
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    prop::collection::vec(source(), 0..6).prop_map(|mut sources| {
        if sources.iter().all(|source| source.kind != "asn") {
            sources.iter_mut().for_each(|source| source.asns.clear());
        }
        sources
    })
}

fn source() -> impl Strategy<Value = Source> {
    let network = (any::<bool>(), any::<u8>(), 0..=8_u8, 0..CODES.len());
    let kind = prop::sample::select(vec!["country", "text", "asn", "list"]);
    (
        kind,
        any::<bool>(),
        prop::collection::vec(network, 1..8),
        prop::collection::vec(1..4_u32, 0..2),
    )
        .prop_map(|(kind, nested, drawn, asns)| {
            let mut networks: Vec<(bool, u8, u8, usize)> = Vec::new();
            for (v6, low, length, value) in drawn {
                let low = if length == 0 { 0 } else { low & (0xff << (8 - length)) };
                let meets = |other: &(bool, u8, u8, usize)| {
                    let shorter = length.min(other.2);
                    other.0 == v6 && (shorter == 0 || (low ^ other.1) >> (8 - shorter) == 0)
                };
                let twice =
                    networks.iter().any(|other| (other.0, other.1, other.2) == (v6, low, length));
                // a tree has one value for an address; a text may have networks in each other, a
                // list may say things twice
                if kind == "list" || (kind == "text" && !twice) || !networks.iter().any(meets) {
                    networks.push((v6, low, length, value));
                }
            }
            Source { kind, nested, networks, asns }
        })
}

impl Source {
    fn says(&self, address: IpAddr) -> Option<usize> {
        let (v6, low) = match address {
            IpAddr::V4(address) => (false, u128::from(address.to_bits().wrapping_sub(V4))),
            IpAddr::V6(address) => (true, address.to_bits().wrapping_sub(V6)),
        };
        let within = |network: &&(bool, u8, u8, usize)| {
            let first = u128::from(network.1);
            network.0 == v6 && (first..first + (1 << (8 - network.2))).contains(&low)
        };
        self.networks.iter().filter(within).max_by_key(|network| network.2).map(|network| network.3)
    }

    fn file(&self) -> (&'static str, Vec<u8>) {
        let record = |value: usize| match (self.kind, self.nested) {
            ("asn", _) => mmdb::asn(value as u32 + 1),
            (_, true) => mmdb::nested_country(CODES[value]),
            (_, false) => mmdb::country(CODES[value]),
        };
        let tree = || {
            let mut tree = mmdb::Tree::default();
            for (v6, low, length, value) in &self.networks {
                let (bits, before) = if *v6 {
                    (V6 | u128::from(*low), 120)
                } else {
                    (u128::from(V4 | u32::from(*low)), 120)
                };
                tree.insert(bits, before + length, &record(*value));
            }
            tree.file()
        };
        match self.kind {
            "country" => (COUNTRIES, tree()),
            "asn" => (ASN, tree()),
            kind => {
                let network = |(v6, low, length, value): &(bool, u8, u8, usize)| {
                    let network = match v6 {
                        false => {
                            format!("{}/{}", Ipv4Addr::from_bits(V4 | u32::from(*low)), 24 + length)
                        }
                        true => format!(
                            "{}/{}",
                            Ipv6Addr::from_bits(V6 | u128::from(*low)),
                            120 + length
                        ),
                    };
                    let separator = if self.nested { "," } else { " \t" };
                    if kind == "text" {
                        format!("{network}{separator}{}\n", CODES[*value])
                    } else {
                        network + "\n"
                    }
                };
                let asns: String = self
                    .asns
                    .iter()
                    .filter(|_| kind == "list")
                    .map(|asn| format!("AS{asn}\n"))
                    .collect();
                let says = if kind == "text" { TEXT } else { TOR };
                (says, (self.networks.iter().map(network).collect::<String>() + &asns).into_bytes())
            }
        }
    }
}
