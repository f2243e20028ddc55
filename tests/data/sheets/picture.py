"""Writes a page of xlsx/customers.xlsx as docs/register-sheet.png shows it: the first rows and columns, with their numbers and letters."""

import sys

import openpyxl

book = openpyxl.load_workbook("xlsx/customers.xlsx")
for name in book.sheetnames[1:]:
    del book[name]
sheet = book["customers"]
widths = {"A": 9, "B": 20, "C": 9, "D": 11, "E": 17, "F": 8, "G": 11, "H": 10, "I": 17, "J": 13, "K": 15, "L": 13}
for column, width in widths.items():
    sheet.column_dimensions[column].width = width
sheet.print_area = "A1:L13"
sheet.page_setup.orientation = "landscape"
sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 1
sheet.sheet_properties.pageSetUpPr = openpyxl.worksheet.properties.PageSetupProperties(fitToPage=True)
sheet.print_options.gridLines = sheet.print_options.headings = True
sheet.oddHeader.center.text = sheet.oddFooter.center.text = ""
book.save(sys.argv[1])
