"""Writes customers.xlsx and owners.xlsx: a register of 60 customers and 40 owners as an officer keeps it. Needs openpyxl; the same run gives the same cells."""

import datetime
import hashlib
import sys

import openpyxl
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

DAY = "yyyy\\-mm\\-dd"
NAMES = ["Larkspur", "Foxglove", "Harebell", "Campion", "Yarrow", "Teasel", "Bramble", "Sorrel", "Clover", "Bluebell"]
FORMS = ["Pte. Ltd.", "GmbH", "K.K.", "S.A.", "Ltd", "Müller & Söhne"]
PLACES = ["SG", "DE", "JP", "FR", "GB", "CH"]


def digest(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def put(sheet, row, values):
    for column, value in enumerate(values, 1):
        cell = sheet.cell(row, column, value)
        if isinstance(value, datetime.date):
            cell.number_format = DAY


def widths(sheet, most):
    for column in sheet.columns:
        longest = max(len(str(cell.value or "")) for cell in column)
        sheet.column_dimensions[get_column_letter(column[0].column)].width = min(longest + 2, most)
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    sheet.freeze_panes = "B2"


def customers(path):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "customers"
    put(sheet, 1, ["ID", "Name", "Kind", "Status", "Credentials", "Entity", "Ownership", "Declared", "Screening_Status", "Screening_At",
                   "Screening_Until", "Screening_By", "Agreement_ID", "Agreement_Accepted", "Vouches_For_Users", "Residency", "Notes"])
    row = 2
    for n in range(60):
        if n == 30:
            row += 1  # a blank row between two halves, as people leave one
        place = PLACES[n % 6]
        owned = n % 3 == 0
        put(sheet, row, [
            1000 + n if n % 10 == 9 else f"c-{1000 + n}",  # a tenth has numbers for names
            f"{NAMES[n % 10]} {FORMS[n // 10]}",
            "reseller" if n % 20 == 7 else None,
            "suspended" if n == 13 else "active",
            digest(f"key {n}") + (f" {digest(f'second key {n}')}" if n % 15 == 4 else ""),
            f"e-{n // 3 + 1}" if owned else None,
            None if owned else "clear",
            f"{place} {PLACES[(n + 1) % 6]}" if n % 2 else place,
            "pending" if n == 21 else "passed",
            datetime.date(2026, 1 + n % 11, 1 + n % 28),
            datetime.date(2028, 1 + n % 12, 1 + n % 28),
            "Officer, Jo",
            "terms-3",
            datetime.date(2026, 1 + n % 11, 2),
            n % 4 == 0,
            "EU" if place in ("DE", "FR") else None,
            'asked twice; said "later",\nthen sent the extract' if n == 8 else None,
        ])
        row += 1
    widths(sheet, 24)
    keys = book.create_sheet("keys")
    put(keys, 1, ["Customer", "Digest", "Label", "Expires", "Networks"])
    put(keys, 2, ["c-1000", digest("key 0"), "ci", datetime.date(2028, 6, 30), "203.0.113.0/24 198.51.100.7/32"])
    put(keys, 3, ["c-1001", digest("another key 1"), "batch", None, None])
    widths(keys, 24)
    overrides = book.create_sheet("overrides")
    put(overrides, 1, ["Customer", "Finding", "Action", "Author", "Until"])
    put(overrides, 2, ["c-1002", "geo.undeclared", "allow", "Officer, Jo", datetime.date(2028, 6, 30)])
    put(overrides, 3, [1009, "network.hosting", "report", "Officer, Jo", datetime.date(2027, 12, 31)])
    widths(overrides, 24)
    book.save(path)


def owners(path):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "owners"
    put(sheet, 1, ["Owner", "Of", "Share", "Name", "Country", "Kind"])
    row = 2
    for n in range(1, 21):  # two owners a company: 40 owners
        place = PLACES[n % 6]
        for owner, share, kind in ((f"p-{n}", 0.605, "person"), (f"h-{n}", 0.395, "widely-held" if n % 5 == 0 else "state")):
            put(sheet, row, [owner, f"e-{n}", share, f"{NAMES[n % 10]} {'Jo' if kind == 'person' else 'Holding'} {n}", place, kind])
            if n % 3 == 0:
                sheet.cell(row, 3, share * 100)  # a number of per cent
            else:
                sheet.cell(row, 3).number_format = "0.0%"
            row += 1
        if n == 10:
            row += 1
    for n in range(1, 21):
        put(sheet, row, [f"e-{n}", None, None, f"{NAMES[n % 10]} {FORMS[n % 6]}", PLACES[n % 6], None])
        row += 1
    widths(sheet, 24)
    book.save(path)


customers(f"{sys.argv[1]}/customers.xlsx")
owners(f"{sys.argv[1]}/owners.xlsx")
