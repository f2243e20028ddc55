//! The register as officers keep it: workbooks, and what spreadsheet programs save of them.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use waybill::compile::directory::{Directory, Files, is_document, read};
use waybill::compile::remarks::{Remark, Remarks};
use waybill::terms::time::UnixSeconds;
use zip::write::SimpleFileOptions;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// 2027-01-15T08:00:00Z
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

// === what a spreadsheet program saves ===

/// tests/data/sheets/README.md says how they were made. Nothing is edited, not even a name.
#[test]
fn a_workbook_and_its_exports_compile_to_the_same_bytes() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let key = scratch.join("sheets.jwk");
    let waybill = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_waybill"))
            .args(arguments)
            .env("SOURCE_DATE_EPOCH", "1795219200")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    std::fs::write(&key, waybill(&["keygen"])).unwrap();
    let folders = ["xlsx", "commas", "semicolons"]
        .map(|name| Path::new(ROOT).join("tests/data/sheets").join(name));
    let snapshots = folders.each_ref().map(|folder| {
        let snapshot = scratch.join("sheets.snapshot");
        waybill(&[
            "compile",
            folder.to_str().unwrap(),
            "-o",
            snapshot.to_str().unwrap(),
            "--sign-key",
            key.to_str().unwrap(),
        ]);
        std::fs::read(snapshot).unwrap()
    });
    assert!(snapshots.iter().all(|snapshot| *snapshot == snapshots[0]));
    for folder in folders {
        let said = String::from_utf8(waybill(&["check", folder.to_str().unwrap()])).unwrap();
        assert!(said.ends_with(": ok: 60 customers, 65 credentials, 60 entities, 40 holdings, 0 nodes, 0 network sources\n"), "{said}");
        let screened = String::from_utf8(waybill(&[
            "screen",
            "c-1000",
            "--register",
            folder.to_str().unwrap(),
        ]))
        .unwrap();
        assert!(screened.contains("clear"), "{screened}");
    }
}

/// Names and notes are for the desk: a snapshot is the same with them and without.
#[test]
fn names_and_notes_stay_at_the_desk() {
    let with = text(
        "customers.csv",
        "id,name,notes,ownership\nc-1,Larkspur GmbH,\"asked twice,\nthen wrote\",clear\n",
    );
    let without = text("customers.csv", "id,ownership\nc-1,clear\n");
    let [with, without] = [with, without].map(valid);
    assert_eq!(with.digests, without.digests);
    let customer = &with.customers[0];
    assert_eq!(customer.name.as_ref().unwrap().as_str(), "Larkspur GmbH");
    assert_eq!(customer.notes.as_ref().unwrap().as_str(), "asked twice,\nthen wrote");
}

// === tables as text ===

#[test]
fn tables_are_taken_however_they_were_saved() {
    let table = "ID,Ownership,Screening_Status,Screening Until,Vouches_For_Users,Declared\n\
                 c-1,clear,passed,2028-01-31,TRUE,\"SG, JP\"\n,,,,,\n\nc-2,clear,passed,2028-01-31 00:00,False,SG;JP\n";
    let expected = format!("{:?}", valid(text("customers.csv", table)).customers);
    assert!(
        expected.contains("vouches_for_users: true")
            && expected.contains("vouches_for_users: false"),
        "{expected}"
    );
    let semicolons = table
        .replace("\"SG, JP\"", "SG JP")
        .replace("SG;JP", "\"SG;JP\"")
        .replace(',', ";")
        .replace("SG JP", "\"SG; JP\"");
    let tabs = table.replace("\"SG, JP\"", "SG JP").replace(',', "\t");
    for saved in [
        table.to_owned(),
        format!("\u{feff}{table}"),
        table.replace('\n', "\r\n"),
        table.replace('\n', "\r"),
        table.trim_end().to_owned(),
        format!(" , ,,\n{table},,,\n ,,\n"),
        format!("sep=,\n{table}"),
        format!("\"sep=,\"\r\n{table}"),
        format!("\u{feff}sep=;\r\n{semicolons}"),
        format!("sep=\t\n{tabs}"),
        semicolons,
        tabs,
        table
            .replace("Declared\n", "Declared,,\n")
            .replace("SG, JP\"\n", "SG, JP\",,\n")
            .replace("SG;JP\n", "SG;JP,,,\n"),
        table.replace("ID,", "ID,,").replace("c-1,", "c-1,,").replace("c-2,", "c-2, ,"),
        table.replace("passed,2028", "passed , 2028").replace("c-1", "\u{a0}c-1\u{a0}"),
        table.replace("TRUE", "\"true\" "),
    ] {
        let customers = valid(text("customers.csv", &saved)).customers;
        assert_eq!(format!("{customers:?}"), expected, "{saved}");
    }
}

#[test]
fn mistakes_in_tables_are_named() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    for (table, expected) in [
        // a quote left open: never closed; closed by the next one; closed at the end of another
        // row's cell
        (
            "id,ownership,jwt\nc-1,clear,\"x\nc-2,clear,y\n",
            &["customers.csv:2: unclosed quote"][..],
        ),
        (
            "id,ownership,jwt\nc-1,clear,\"x\nc-2,claer,y\nc-3,clear,\"z\"\n",
            &[
                "customers.csv:2: invalid quote: text follows it in the same cell",
                "customers.csv:3: ownership: unknown word `claer`",
            ],
        ),
        (
            "id,ownership,jwt\nc-1,clear,\"x\nc-2,clear,y\"\n",
            &["customers.csv:2: unclosed quote: its cell contains another row"],
        ),
        (
            "id,ownership,jwt\nc-1,clear,\"x\nc-2,clear,y\nc-3,clear,z\"\n",
            &["customers.csv:2: unclosed quote: its cell contains another row"],
        ),
        ("id;ownership;jwt\nc-1;clear;\"x\nc-2;clear;y\n", &["customers.csv:2: unclosed quote"]),
        ("id,ownership,\"jwt\nc-1,clear,x\n", &["customers.csv:1: unclosed quote"]),
        ("id,ownership,jwt\n\n\"c-1,clear,x\n", &["customers.csv:3: unclosed quote"]),
        ("id,ownership,mtls,jwt\nc-1,clear,\"a\nb\",\"x\n", &["customers.csv:3: unclosed quote"]),
        // days
        (
            "id,ownership,screening_status,screening_until\nc-1,clear,passed,31/01/2027\nc-2,clear,passed,2027-01-31\nc-3,clear,passed,01/31/2027\nc-4,clear,passed,31.1.27\n",
            &[
                "customers.csv:2: screening_until: rows 2, 4-5: invalid date: cell `D2` has `31/01/2027` (also `D4` `01/31/2027`, `D5` `31.1.27`)",
                "day and month can't be told apart; type year, month and day: `2027-01-31`",
            ],
        ),
        (
            "id,ownership,agreement_id,agreement_accepted\nc-1,clear,t,46053\n",
            &[
                "agreement_accepted: invalid date: cell `D2` has `46053`",
                "set the format of the cell to a date",
            ],
        ),
        (
            "id,ownership,screening_status,screening_until\nc-1,clear,passed,########\n",
            &[
                "screening_until: a formula or an error in place of a value: cell `D2` has `########`",
                "make its column wider",
            ],
        ),
        (
            "id,ownership,screening_status,screening_at,screening_until\nc-1,clear,passed,2027-01-31,2027-01-30\n",
            &["screening_until: the screening ends before it was done"],
        ),
        // words, columns, cells
        (
            "id,ownership,entity\n2027-03-01,,=A1\n",
            &[
                "id: a date or a rounded number in place of an id: cell `A2` has `2027-03-01`",
                "entity: a formula or an error in place of a value: cell `C2` has `=A1`",
            ],
        ),
        (
            "id,ownership,vouches_for_users\nc-1,clear,1\nc-2,clear,yes\n",
            &["rows 2-3: expected TRUE or FALSE: cell `C2` has `1` (also `C3` `yes`)"],
        ),
        (
            "id,,ownership\nc-1,x,clear\nc-2,,clear\nc-3,y,clear\n",
            &["customers.csv:2: B: rows 2, 4: unexpected value: this column has no name"],
        ),
        (
            "id,ownership\nc-1,clear,x\n",
            &["customers.csv:2: expected 2 cells as in the header, found 3"],
        ),
        (
            "id;ownership\nc-1,clear\n",
            &[
                "customers.csv:2: expected 2 cells as in the header, found 1",
                "the cells are separated by commas; use semicolons as in the header",
            ],
        ),
        (
            "id|ownership\nc-1|clear\n",
            &["customers.csv:1: missing column `id` in the first line", "not with `|`"],
        ),
        ("id,ID,ownership\nc-1,c-1,clear\n", &["customers.csv:1: duplicate column `id`"]),
        (
            "id,ownership\n1.23457E+14,clear\n",
            &[
                "id: a date or a rounded number in place of an id: cell `A2` has `1.23457E+14`",
                "rounds long numbers",
            ],
        ),
        (
            "id,ownership,entity\nc-1,,#REF!\n",
            &["entity: a formula or an error in place of a value: cell `C2` has `#REF!`"],
        ),
        (
            "id,ownership\nc-1,clear\nc-1,clear\nc-2,clear\nc-2,clear\n",
            &[
                "customers.csv:3: id: rows 3, 5: duplicate `c-1` (also `c-2`)",
                "row 3: the first is at customers.csv:2; row 5: the first is at customers.csv:4",
            ],
        ),
        (
            "id,ownership,declared\nc-1,clear,UK XY\n",
            &["customers.csv:2: declared: unknown country code `UK` (also `XY`)"],
        ),
        ("PK\u{3}\u{4}", &["customers.csv: expected text, found a workbook"]),
    ] {
        let told = wrong(text("customers.csv", table));
        for expected in expected {
            assert!(told.contains(expected), "{table}: {told}");
        }
    }
    // a line break within a cell is none, nor are commas in what people write freely
    let table = format!(
        "id,ownership,credentials,notes\nc-1,clear,\"{digest}\nsha256:{}\",\"Main Street, 1\nTown, County, State, Land\"\n",
        "cd".repeat(32)
    );
    let directory = valid(text("customers.csv", &table));
    assert_eq!(directory.customers[0].credentials.len(), 2);
}

/// Columns have the letters of a spreadsheet: A, Z, AA, AZ, BA, ZZ, AAA, XFD.
#[test]
fn columns_have_letters() {
    let letters =
        [(25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")];
    for (column, name) in letters {
        let gap = ",".repeat(column);
        let told = wrong(text("customers.csv", &format!("id{gap}\nc-1{gap}x\n")));
        assert!(told.starts_with(&format!("customers.csv:2: {name}: unexpected value")), "{told}");
    }
}

/// A day counts from its beginning to its end, a time to the second; other forms are invalid.
#[test]
fn days_and_times_are_read() {
    for (cell, from, until) in [
        ("2027-01-31", "2027-01-31T00:00:00Z", "2027-02-01T00:00:00Z"),
        ("2028-02-28", "2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("9999-12-30", "9999-12-30T00:00:00Z", "9999-12-31T00:00:00Z"),
        ("2027-01-31T08:09:10Z", "2027-01-31T08:09:10Z", "2027-01-31T08:09:10Z"),
        ("2027-01-31 08:09:10", "2027-01-31T08:09:10Z", "2027-01-31T08:09:10Z"),
        ("2027-01-31 08:09", "2027-01-31T08:09:00Z", "2027-01-31T08:09:00Z"),
        ("2027-01-31T08:09Z", "2027-01-31T08:09:00Z", "2027-01-31T08:09:00Z"),
        ("2027-01-31T08:09:10+08:00", "2027-01-31T00:09:10Z", "2027-01-31T00:09:10Z"),
    ] {
        let read = |column: &str| {
            let table =
                format!("id,ownership,screening_status,{column}\nc-1,clear,passed,{cell}\n");
            valid(text("customers.csv", &table)).customers.remove(0).screening.unwrap()
        };
        assert_eq!(read("screening_at").at.unwrap().to_string(), from, "{cell}");
        assert_eq!(read("screening_until").until.unwrap().to_string(), until, "{cell}");
    }
    let last = "id,ownership,screening_status,screening_until\nc-1,clear,passed,9999-12-31\n";
    let screening = valid(text("customers.csv", last)).customers.remove(0).screening.unwrap();
    assert_eq!(screening.until.unwrap().to_string(), "9999-12-31T23:59:59Z");
    for cell in [
        "2027-02-30",
        "2027-01-31 08:09+08:00",
        "2027-01-31x",
        "2027-1-31",
        "31/01/2027",
        "1927-01-31",
        "46053",
        "2027-01-3é",
    ] {
        let table =
            format!("id,ownership,screening_status,screening_until\nc-1,clear,passed,{cell}\n");
        let told = wrong(text("customers.csv", &table));
        assert!(told.contains(&format!("invalid date: cell `D2` has `{cell}`")), "{told}");
    }
}

/// 60,000 rows with one mistake each are one error.
#[test]
fn one_mistake_in_all_rows_is_one_error() {
    let rows: String =
        (0..60_000).map(|n| format!("c-{n},clear,passed,{:02}/01/2027\n", n % 28 + 1)).collect();
    let (_, remarks) = read(
        text("customers.csv", &format!("id,ownership,screening_status,screening_until\n{rows}")),
        NOW,
    );
    let told = told(&remarks.errors);
    assert_eq!((remarks.errors.len(), remarks.more), (1, 0), "{told}");
    assert!(told.starts_with("customers.csv:2: screening_until: rows 2-60001: invalid date: cell `D2` has `01/01/2027` (also"), "{told}");
    assert!(told.contains("and others)"), "{told}");
}

/// Lines may end as they did on old Macintoshes, which one program or the other still offers.
#[test]
fn lines_end_in_three_ways() {
    for end in ["\n", "\r\n", "\r"] {
        let table = "id,notes,ownership\n\nc-1,\"a\nb\",clear\nc-2,,claer\n\nc-3,\"x\nc-4,,clear\n"
            .replace('\n', end);
        let told = wrong(text("customers.csv", &table));
        assert!(
            told.contains("customers.csv:5: ownership: unknown word `claer`")
                && told.contains("customers.csv:7: unclosed quote"),
            "{told}"
        );
    }
}

/// Rows are what a spreadsheet counts, where cells have line breaks in them; the line is the
/// file's.
#[test]
fn rows_are_those_of_the_spreadsheet() {
    let table = "id,notes,ownership,screening_status,screening_until\nc-1,\"a\nb\",clear,passed,x\n\nc-2,,clear,passed,x\nc-3,\"c\n\nd\",clear,passed,x\nc-4,,clear,passed,x\n";
    let (_, remarks) = read(text("customers.csv", table), NOW);
    let told = told(&remarks.errors);
    assert!(
        told.starts_with(
            "customers.csv:2: screening_until: rows 2, 4-6: invalid date: cell `E2` has `x` (also `E4` `x`, `E5` `x`, `E6` `x`)"
        ),
        "{told}"
    );
}

// === what stands beside ===

#[test]
fn keys_and_overrides_stand_in_tables_of_their_own() {
    let digests = ["ab", "cd"].map(|byte| format!("sha256:{}", byte.repeat(32)));
    let table = format!("id,credentials,ownership\nc-1,{},clear\nc-2,,clear\n", digests[0]);
    let keys = format!(
        "Customer;Digest;Label;Expires;Networks\nc-1;{};ci;2028-06-30;203.0.113.0/24 198.51.100.7/32\nc-2;{};;;\n",
        digests[0], digests[1]
    );
    let overrides = "customer,finding,action,author,until,reason,event\nc-2,geo.undeclared,allow,\"Officer, Jo\",2028-06-30,a branch in Tokyo,2b273bcd05811fe0-6\nc-2,network.hosting,reroute fallback,Jo,2028-06-30,,\n";
    let json = format!(
        r#"{{"customers": [{{"id": "c-1", "ownership": "clear", "credentials": [{{"digest": "{}", "label": "ci", "expires": "2028-07-01T00:00:00Z",
            "networks": ["203.0.113.0/24", "198.51.100.7/32"]}}]}}, {{"id": "c-2", "ownership": "clear", "credentials": [{{"digest": "{}"}}], "overrides": [
            {{"finding": "geo.undeclared", "action": "allow", "author": "Officer, Jo", "until": "2028-07-01T00:00:00Z", "reason": "a branch in Tokyo", "event": "2b273bcd05811fe0-6"}},
            {{"finding": "network.hosting", "action": {{"reroute": "fallback"}}, "author": "Jo", "until": "2028-07-01T00:00:00Z"}}]}}]}}"#,
        digests[0], digests[1]
    );
    let expected = format!("{:?}", valid(text("customers.json", &json)).customers);
    let with =
        |names: [&str; 3]| files(names.into_iter().zip([table.as_str(), keys.as_str(), overrides]));
    for names in [
        ["customers.csv", "customers-keys.csv", "customers-overrides.csv"],
        ["customers.csv", "customers.keys.csv", "customers.overrides.csv"],
        ["customers-customers.csv", "customers-keys.csv", "customers-overrides.csv"],
    ] {
        assert_eq!(format!("{:?}", valid(with(names)).customers), expected);
    }
    let sheet = |text: &str| {
        text.lines()
            .map(|line| line.split([';', ',']).map(str::to_owned).collect())
            .collect::<Vec<Vec<String>>>()
    };
    let overrides_sheet =
        sheet(&overrides.replace("\"Officer, Jo\"", "Officer")).into_iter().map(|mut row| {
            row.iter_mut()
                .filter(|cell| *cell == "Officer")
                .for_each(|cell| *cell = "Officer, Jo".into());
            row
        });
    let book = workbook(&[
        ("Overrides", overrides_sheet.collect()),
        ("KEYS", sheet(&keys)),
        ("All of them", sheet(&table)),
        ("Sheet3", vec![]),
        ("Notes to self", sheet("x")),
    ]);
    assert_eq!(format!("{:?}", valid(bytes("customers.xlsx", book)).customers), expected);
}

#[test]
fn mistakes_beside_are_named_where_they_stand() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let table = format!("id,credentials,ownership\nc-1,,clear\nc-2,{digest},clear\n");
    let keys = format!(
        "customer,digest,label,expires\nc-1,{digest},,\nc-3,sha256:{},,\nc-1,very-secret,,1/2/2027\n",
        "cd".repeat(32)
    );
    let overrides = "customer,finding,action,author,until\nc-1,identity.missing,allow,Jo,2028-06-30\n,geo.undeclared,alow,Jo,2028-06-30\n";
    let told = wrong(files([
        ("customers.csv", table.as_str()),
        ("customers-keys.csv", &keys),
        ("customers-overrides.csv", overrides),
    ]));
    for expected in [
        "customers.csv:3: credentials: duplicate credential: two customers have it",
        "customers-keys.csv:3: customer: unknown customer `c-3`\n  help: did you mean `c-2`?",
        "customers-keys.csv:4: digest: not a digest: credentials must not be stored in plain text",
        "customers-keys.csv:4: expires: invalid date: cell `D4` has `1/2/2027`",
        "customers-overrides.csv:2: finding: `identity.missing` fires before a customer is known",
        "customers-overrides.csv:3: customer: missing value",
        "customers-overrides.csv:3: action: unknown action `alow`\n  help: did you mean `allow`?",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains("very-secret"), "{told}");
    // in a workbook the sheet comes before the column
    let sheet = |text: &str| {
        text.lines()
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect::<Vec<Vec<String>>>()
    };
    let told = wrong(bytes(
        "customers.xlsx",
        workbook(&[
            ("customers", sheet(&table)),
            ("keys", sheet(&keys)),
            ("overrides", sheet(overrides)),
        ]),
    ));
    for expected in [
        "customers.xlsx:3: keys!customer: unknown customer `c-3`",
        "customers.xlsx:4: keys!expires: invalid date: cell `D4` has `1/2/2027`",
        "customers.xlsx:2: overrides!finding: `identity.missing` fires before a customer is known",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // and a table beside what has its own place for it
    let json = r#"{"customers": [{"id": "c-1", "ownership": "clear"}]}"#;
    let told =
        wrong(files([("customers.json", json), ("customers-keys.csv", "customer,digest\n")]));
    assert!(
        told.contains(
            "customers-keys.csv: unexpected file: the keys of `customers.json` aren't read from it"
        ),
        "{told}"
    );
}

// === workbooks ===

#[test]
fn typed_cells_are_what_they_show() {
    let cells = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>ID</t></is></c><c r="B1" t="inlineStr"><is><t>ownership</t></is></c>
        <c r="C1" t="inlineStr"><is><t>screening_status</t></is></c><c r="D1" t="inlineStr"><is><t>screening_at</t></is></c>
        <c r="E1" t="inlineStr"><is><t>screening_until</t></is></c><c r="F1" t="inlineStr"><is><t>vouches_for_users</t></is></c></row>
        <row r="3"><c r="A3"><v>1042</v></c><c r="B3" t="str"><f>A1</f><v>clear</v></c><c r="C3" t="inlineStr"><is><t>passed</t></is></c>
        <c r="D3" s="1"><v>46053</v></c><c r="E3" s="1"><v>46418</v></c><c r="F3" t="b"><v>1</v></c><c r="XFD3" t="inlineStr"><is><t> </t></is></c></row>
        <row r="1048576"><c r="A1048576"><v>1043</v></c><c r="B1048576" t="inlineStr"><is><t>clear</t></is></c><c r="C1048576" t="inlineStr"><is><t>passed</t></is></c>
        <c r="E1048576" s="2"><v>46418.5</v></c><c r="F1048576" t="b"><v>0</v></c></row>"#;
    let directory = valid(bytes("customers.xlsx", workbook_of(&[("Tabelle1", cells)])));
    let told: Vec<String> = directory
        .customers
        .iter()
        .map(|customer| {
            let screening = customer.screening.as_ref().unwrap();
            let time = |time: Option<UnixSeconds>| {
                time.map_or_else(|| "-".into(), |time| time.to_string())
            };
            format!(
                "{} {} {} {}",
                customer.id,
                time(screening.at),
                time(screening.until),
                customer.vouches_for_users
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "1042 2026-01-31T00:00:00Z 2027-02-01T00:00:00Z true",
            "1043 - 2027-01-31T12:00:00Z false"
        ]
    );
    assert_eq!(directory.place(1), ("customers.xlsx", 1_048_576));
}

#[test]
fn numbers_and_formats_are_as_a_spreadsheet_shows_them() {
    // the style and the value of a cell, and its text
    let cases = [
        (0, "1042", "1042"),
        (0, "60.5", "60.5"),
        (0, "-3.25", "-3.25"),
        (0, "1000000000000000", "1E+15"),
        (3, "0.605", "60.5%"),
        (3, "0.07", "7%"),
        (4, "0.5", "50%"),
        (5, "0.5", "0.5"),
        (6, "0.5", "0.5"),
        (1, "46418", "2027-01-31"),
        (2, "46418.5", "2027-01-31T12:00:00Z"),
        (7, "46418.5", "2027-01-31T12:00:00Z"),
        (8, "46418.5", "2027-01-31"),
    ];
    let text = |place: &str, text: &str| {
        format!(r#"<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>"#)
    };
    let header = [text("A1", "id"), text("B1", "ownership"), text("C1", "name")].concat();
    let row = |(row, (style, value, _)): (usize, &(usize, &str, &str))| {
        let [id, clear] =
            [text(&format!("A{row}"), &format!("c-{row}")), text(&format!("B{row}"), "clear")];
        format!(r#"<row r="{row}">{id}{clear}<c r="C{row}" s="{style}"><v>{value}</v></c></row>"#)
    };
    let rows: String = (2..).zip(&cases).map(row).collect();
    let cells = format!(r#"<row r="1">{header}</row>{rows}"#);
    let customers = valid(bytes("customers.xlsx", workbook_of(&[("customers", &cells)]))).customers;
    let shown = customers.iter().map(|customer| customer.name.as_ref().unwrap().as_str());
    assert_eq!(shown.collect::<Vec<_>>(), cases.map(|(.., text)| text));
}

#[test]
fn mistakes_in_workbooks_are_named() {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
    let customers = vec![row(&["id", "ownership"]), row(&["c-1", "clear"])];
    for (book, expected) in [
        (b"id,ownership\nc-1,clear\n".to_vec(), "not a workbook"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(),
            "it has a password or is in an older format",
        ),
        (b"PK\x03\x04".to_vec(), "damaged workbook"),
        (
            zipped(&[("mimetype", "application/vnd.oasis.opendocument.spreadsheet")]),
            "unreadable workbook",
        ),
        (
            workbook(&[("customers", customers.clone()), ("overides", customers.clone())]),
            "unknown sheet `overides`\n  help: did you mean `overrides`?",
        ),
        (workbook(&[("customers", vec![])]), "empty table"),
        (workbook(&[("keys", vec![])]), "missing sheet `customers`"),
        (
            workbook(&[("customers", vec![row(&["Our customers"]), row(&["id", "ownership"])])]),
            "customers.xlsx:1: missing column `id`",
        ),
        (
            workbook_of(&[(
                "customers",
                r#"<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c><c r="B1" t="inlineStr"><is><t>entity</t></is></c></row>
            <row r="2"><c r="A2"><v>123456789012345678</v></c><c r="B2" t="e"><v>#REF!</v></c></row>"#,
            )]),
            "id: a date or a rounded number in place of an id: cell `A2`",
        ),
        (
            workbook_of(&[(
                "customers",
                r#"<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c><c r="B1" t="inlineStr"><is><t>ownership</t></is></c></row>
            <row r="2"><c r="A2" t="str"><f>"c-"&amp;1</f><v>c-1</v></c><c r="B2"><f>A1</f><v/></c></row>"#,
            )]),
            "ownership: a formula or an error in place of a value: cell `B2` has `=A1`",
        ),
        (
            zipped(&[("xl/sharedStrings.xml", r#"<sst uniqueCount="99999999999999999"></sst>"#)]),
            "more texts than it has bytes",
        ),
    ] {
        let told = wrong(bytes("customers.xlsx", book));
        assert!(
            told.starts_with("customers.xlsx:") && told.contains(expected),
            "{expected}: {told}"
        );
    }
}

/// A few kilobytes may be a gigabyte once they are unpacked.
#[test]
fn what_unpacks_without_end_is_refused() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("xl/worksheets/sheet1.xml", SimpleFileOptions::default()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..955 {
        zip.write_all(&zeros).unwrap();
    }
    let told = wrong(bytes("customers.xlsx", zip.finish().unwrap().into_inner()));
    assert!(told.contains("unpacked it has more than 1,000 MB"), "{told}");
}

// === owners ===

#[test]
fn owners_are_entities_and_holdings() {
    let customers = (
        "customers.json",
        r#"{"customers": [{"id": "c-1", "entity": "lion"}, {"id": "c-2", "entity": "harbour"}]}"#,
    );
    let entities = (
        "entities.json",
        r#"{"entities": [{"id": "ada", "jurisdiction": "SG", "type": "person"}], "holdings": []}"#,
    );
    let table = "Owner;Of;Share;Name;Country;Kind\nada;lion;60;;;\nwang;lion;39,5 %;Wang;CN;person\nwang;harbour;50.01%;;;\nlion;;;Lion Pte. Ltd.;SG;company\n;;;;;\nharbour;;;;SG;\nfloat;harbour;;;;widely-held\n";
    let rows = r#"{"owner": "ada", "of": "lion", "share": 60}
        {"owner": "wang", "of": "lion", "share": "39,5 %", "name": "Wang", "country": "CN", "kind": "person"}
        {"owner": "wang", "of": "harbour", "share": 50.01}
        {"owner": "lion", "name": "Lion Pte. Ltd.", "country": "SG", "kind": "company"}
        {"owner": "harbour", "country": "SG"}
        {"owner": "float", "of": "harbour", "kind": "widely-held"}"#;
    let lines: String = rows.lines().map(|line| format!("{}\n", line.trim())).collect();
    let json = format!(r#"{{"owners": [{}]}}"#, rows.lines().collect::<Vec<_>>().join(","));
    let percent = |row: usize, owner: &str, of: &str, share: &str, rest: &str| {
        let cell = |column: &str, text: &str| {
            format!(r#"<c r="{column}{row}" t="inlineStr"><is><t>{text}</t></is></c>"#)
        };
        let more: String =
            rest.split(',').zip(["D", "E", "F"]).map(|(text, column)| cell(column, text)).collect();
        format!(r#"<row r="{row}">{}{}{share}{more}</row>"#, cell("A", owner), cell("B", of))
    };
    let book = [
        percent(
            1,
            "Owner",
            "Of",
            r#"<c r="C1" t="inlineStr"><is><t>Share</t></is></c>"#,
            "Name,Country,Kind",
        ),
        percent(2, "ada", "lion", r#"<c r="C2"><v>60</v></c>"#, ""),
        percent(3, "wang", "lion", r#"<c r="C3" s="3"><v>0.395</v></c>"#, "Wang,CN,person"),
        percent(4, "wang", "harbour", r#"<c r="C4" s="4"><v>0.50009999999999999</v></c>"#, ""),
        percent(5, "lion", "", "", "Lion Pte. Ltd.,SG,company"),
        percent(6, "harbour", "", "", ",SG,"),
        percent(7, "float", "harbour", "", ",,widely-held"),
    ];
    let mut told = BTreeSet::new();
    for (name, bytes) in [
        ("owners.csv", table.as_bytes().to_vec()),
        ("owners-owners.csv", table.replace(",5 %", ".5%").replace(';', ",").into_bytes()),
        ("owners.jsonl", lines.into_bytes()),
        ("owners.json", json.into_bytes()),
        ("owners.xlsx", workbook_of(&[("Tabelle1", &book.concat())])),
    ] {
        let mut register = files([customers, entities]);
        register.documents.insert(name.into(), bytes);
        let directory = valid(register);
        let graph = &directory.owners.graph;
        let screening = directory.owners.screen();
        let status =
            |id: &str| format!("{id} {:?}", screening.judge(graph.get(id).unwrap()).status);
        let shares = |id: &str| {
            format!(
                "{:?}",
                screening
                    .holders(graph.get(id).unwrap())
                    .iter()
                    .map(|holder| holder.basis_points)
                    .collect::<Vec<_>>()
            )
        };
        told.insert(
            [
                status("lion"),
                status("harbour"),
                shares("lion"),
                shares("harbour"),
                graph.entities().count().to_string(),
            ]
            .join(", "),
        );
    }
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        ["lion Clear, harbour Restricted, [6000, 3950, 50], [5001, 0, 4999], 5"]
    );
}

#[test]
fn mistakes_of_owners_are_named() {
    let customers = ("customers.json", r#"{"customers": []}"#);
    let entities = ("entities.json", r#"{"entities": [{"id": "ada", "jurisdiction": "SG"}]}"#);
    for (table, expected) in [
        (
            "owner,of,share\na,c,60\nb,c,40,5\n",
            "owners.csv:3: expected 3 cells as in the header, found 4",
        ),
        (
            "owner,of,share\na,c,60\nb,d,100\nb,c,\"40,5 %\"\n",
            "owners.csv:4: share: shares of `c` add up to 100.5 %, expected at most 100 %: owners.csv:2, 4",
        ),
        (
            "owner,of,share\na,c,0.333333\nb,c,1/3\nx,c,-1\ny,c,100.01\n",
            "owners.csv:2: share: the share `0.333333` has more than two decimals",
        ),
        (
            "owner,of,share\na,c,0.333333\nb,c,1/3\nx,c,-1\ny,c,100.01\n",
            "owners.csv:3: share: rows 3-4: invalid share `1/3` (also `-1`)",
        ),
        (
            "owner,of,share\na,c,0.333333\nb,c,1/3\nx,c,-1\ny,c,100.01\n",
            "owners.csv:5: share: the share `100.01` is more than 100 %",
        ),
        ("owner,of,share\na,,60\n", "owners.csv:2: of: missing company: the row has a share"),
        (
            "owner,of,country\na,c,SG\na,d,JP\n",
            "owners.csv:3: country: two different values of `country` for `a`\n  help: the other value is at owners.csv:2",
        ),
        (
            "owner,of,country\nada,c,SG\n",
            "owners.csv:2: country: `ada` is described in entities.json or bods/ already",
        ),
        ("owner,of,country\na,c,Atlantis\n", "owners.csv:2: country: "),
        ("owner,of,kind\na,c,trust\n", "owners.csv:2: kind: unknown word `trust`"),
        ("of,share\nc,60\n", "owners.csv:1: missing column `owner`"),
        ("owner,of\n,c\n", "owners.csv:2: owner: missing value"),
    ] {
        let told = wrong(files([customers, entities, ("owners.csv", table)]));
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let told = wrong(files([
        customers,
        ("owners.csv", "owner\na\n"),
        ("owners.json", r#"{"owners": []}"#),
    ]));
    assert!(told.contains("owners.csv: duplicate owners: `owners.json` has them too"), "{told}");
    let told = wrong(files([
        customers,
        ("owners.json", "{\"owners\": [\n{\"owner\": \"a\", \"of\": \"b\", \"share\": \"x\"}]}"),
    ]));
    assert!(told.contains("owners.json:2: $.owners[0].share: invalid share `x`"), "{told}");
}

/// A country may be given by its name, as registers of companies give it.
#[test]
fn an_owners_country_may_be_a_name() {
    let customers = ("customers.json", r#"{"customers": []}"#);
    for (said, place) in [
        ("China", "CN"),
        ("united kingdom", "GB"),
        ("UK", "GB"),
        ("Russian Federation", "RU"),
        ("SG", "SG"),
    ] {
        let register = valid(files([
            customers,
            ("owners.csv", &format!("owner,of,share,country\na,c,100,{said}\n")),
        ]));
        let entity = register
            .owners
            .graph
            .entities()
            .map(|(_, entity)| entity)
            .find(|entity| entity.id.as_str() == "a")
            .unwrap();
        assert_eq!(entity.jurisdiction.unwrap().to_string(), place, "{said}");
    }
}

/// Spreadsheets of other kinds are told how to come in, and what a program leaves beside an open
/// file is nobody's mistake.
#[test]
fn other_spreadsheets_are_told_how_to_come_in() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("other-sheets");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    for name in [
        "customers.csv",
        "~$customers.xlsx",
        ".~lock.customers.csv#",
        "customers.xls",
        "Owners.ods",
        "customers-keys.tsv",
    ] {
        std::fs::write(folder.join(name), "id,ownership\nc-1,clear\n").unwrap();
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_waybill")).arg("check").arg(&folder).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.ends_with("3 errors\n"), "{told}");
    assert_eq!(
        told.matches("help: save the spreadsheet as `.xlsx` or as `.csv`").count(),
        3,
        "{told}"
    );
}

proptest! {
    /// A workbook with a byte changed is read or refused.
    #[test]
    fn a_damaged_workbook_is_read_or_refused(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        packed in any::<bool>(),
    ) {
        let cells = r#"<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" s="3"><v>0.5</v></c></row>"#;
        let mut book = if packed { workbook_of(&[("customers", cells)]) } else { stored(&parts(&[("customers", cells)])) };
        let at = at.index(book.len());
        book[at] = byte;
        let (directory, remarks) = read(bytes("customers.xlsx", book), NOW);
        prop_assert_eq!(directory.is_none(), !remarks.errors.is_empty());
    }

    /// Whatever its XML holds.
    #[test]
    fn any_cells_are_read_or_refused(cells in "(<row( r=\"[0-9]{0,9}\")?>|</row>|<c( r=\"[A-Z]{0,4}[0-9]{0,9}\")?( s=\"[0-9]{1,3}\")?( t=\"(s|b|e|n|d|str)\")?/?>|<v>[-0-9.eE#]{0,9}</v>|</c>){0,12}") {
        drop(read(bytes("customers.xlsx", workbook_of(&[("customers", &cells)])), NOW));
    }

    /// A table of any cells says the same with each separator, quoted where that is needed.
    #[test]
    fn separators_change_nothing(
        notes in proptest::collection::vec("[a-z,;\"\\t\\n ]{0,12}", 1..8),
    ) {
        let table = |separator: char| {
            let rows = notes.iter().enumerate().map(|(i, notes)| format!("c-{i}{separator}\"{}\"{separator}clear\n", notes.replace('"', "\"\"")));
            format!("id{separator}notes{separator}ownership\n{}", rows.collect::<String>())
        };
        let expected: Vec<Option<String>> = notes.iter(
        ).map(|notes| Some(notes.trim().to_owned()).filter(|notes| !notes.is_empty())).collect();
        for separator in [',', ';', '\t'] {
            let (directory, remarks) = read(text("customers.csv", &table(separator)), NOW);
            let told = told(&remarks.errors);
            prop_assert!(directory.is_some(), "{told}");
            let found: Vec<Option<String>> = directory.unwrap().customers.iter()
                .map(|customer| customer.notes.as_ref().map(ToString::to_string)).collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}

// === helpers ===

fn files<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Files {
    let documents: BTreeMap<String, Vec<u8>> = documents
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .collect();
    assert!(documents.keys().all(|name| is_document(name)));
    Files { documents, others: BTreeSet::new() }
}

fn text(name: &str, text: &str) -> Files {
    files([(name, text)])
}

fn bytes(name: &str, bytes: Vec<u8>) -> Files {
    assert!(is_document(name));
    Files { documents: BTreeMap::from([(name.to_owned(), bytes)]), others: BTreeSet::new() }
}

fn valid(files: Files) -> Directory {
    let (directory, remarks) = read(files, NOW);
    directory.unwrap_or_else(|| panic!("{}", told(&remarks.errors)))
}

fn wrong(files: Files) -> String {
    let (directory, Remarks { errors, .. }) = read(files, NOW);
    assert!(directory.is_none(), "nothing is wrong");
    told(&errors)
}

fn told(remarks: &[Remark]) -> String {
    remarks.iter().map(|remark| format!("{remark}\n")).collect()
}

/// A workbook of sheets whose cells are texts; an empty one isn't written.
fn workbook(sheets: &[(&str, Vec<Vec<String>>)]) -> Vec<u8> {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let row = |(number, cells): (usize, &Vec<String>)| {
        let cell = |(column, text): (u8, &String)| {
            let place = char::from(b'A'.strict_add(column));
            format!(r#"<c r="{place}{number}" t="inlineStr"><is><t>{}</t></is></c>"#, escaped(text))
        };
        let cells: String =
            (0..).zip(cells).filter(|(_, text)| !text.is_empty()).map(cell).collect();
        format!(r#"<row r="{number}">{cells}</row>"#)
    };
    let sheets: Vec<(&str, String)> =
        sheets.iter().map(|(name, rows)| (*name, (1..).zip(rows).map(row).collect())).collect();
    workbook_of(&sheets.iter().map(|(name, cells)| (*name, cells.as_str())).collect::<Vec<_>>())
}

/// A workbook of sheets whose cells are written as they are. Styles: 1 a day, 2 a time, 3 and
/// 4 percentages, 5 and 6 a percent sign as text, 7 a time and 8 a day in further formats.
fn workbook_of(sheets: &[(&str, &str)]) -> Vec<u8> {
    let parts = parts(sheets);
    zipped(&parts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
}

fn parts(sheets: &[(&str, &str)]) -> Vec<(String, String)> {
    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
    let numbered = || sheets.iter().zip(1..);
    let named: String = numbered()
        .map(|((name, _), n)| format!(r#"<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>"#))
        .collect();
    let related: String = numbered()
        .map(|(_, n)| format!(r#"<Relationship Id="rId{n}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>"#))
        .collect();
    let mut parts = vec![
        (
            "_rels/.rels".to_owned(),
            format!(
                r#"<Relationships xmlns="{PACKAGE}"><Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
            ),
        ),
        (
            "xl/workbook.xml".to_owned(),
            format!(
                r#"<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{named}</sheets></workbook>"#
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels".to_owned(),
            format!(r#"<Relationships xmlns="{PACKAGE}">{related}</Relationships>"#),
        ),
        (
            "xl/styles.xml".to_owned(),
            format!(
                r#"<styleSheet xmlns="{MAIN}"><numFmts count="6"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd hh:mm"/><numFmt numFmtId="165" formatCode="0.00\ %"/><numFmt numFmtId="166" formatCode="0\%"/><numFmt numFmtId="167" formatCode="0&quot; % of it&quot;"/>
                <numFmt numFmtId="168" formatCode="yyyy-mm-dd hh:mm;@"/><numFmt numFmtId="169" formatCode="[$-409]d-mmm-yy;@"/></numFmts>
                <cellXfs count="9"><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/><xf numFmtId="164" applyNumberFormat="1"/><xf numFmtId="9" applyNumberFormat="1"/><xf numFmtId="165" applyNumberFormat="1"/>
                <xf numFmtId="166" applyNumberFormat="1"/><xf numFmtId="167" applyNumberFormat="1"/><xf numFmtId="168" applyNumberFormat="1"/><xf numFmtId="169" applyNumberFormat="1"/></cellXfs></styleSheet>"#
            ),
        ),
    ];
    for ((_, cells), n) in numbered() {
        parts.push((
            format!("xl/worksheets/sheet{n}.xml"),
            format!(r#"<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData></worksheet>"#),
        ));
    }
    parts
}

fn zipped(parts: &[(&str, &str)]) -> Vec<u8> {
    packed(parts.iter().copied(), SimpleFileOptions::default())
}

fn stored(parts: &[(String, String)]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    packed(parts.iter().map(|(name, text)| (name.as_str(), text.as_str())), options)
}

fn packed<'a>(
    parts: impl Iterator<Item = (&'a str, &'a str)>,
    options: SimpleFileOptions,
) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
