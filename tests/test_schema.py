"""The published JSON Schema and `waybill check` agree on the corpus of configurations.

Another implementation of JSON Schema reads docs/config.schema.json. What is valid passes both, what is
invalid fails both; what is contradictory fits the schema, and only `check` can see it.
"""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parent.parent
WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
CORPUS = ROOT / "tests" / "corpus" / "config"
SCHEMA = json.loads((ROOT / "docs" / "config.schema.json").read_text())
FITS = {"valid": True, "invalid": False, "contradictory": True}
OUT_OF_SIGHT = {"duplicate-member", "region-set"}  # JSON readers drop the first of two; the sets are data, not schema
FITS_NOT = {"neither", "snapshot-and-register"}  # contradictions that the schema does say


def files():
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(CORPUS.glob("*/*.json"))]


@pytest.mark.parametrize("path", files())
def test_schema_and_check_agree(path):
    kind, name = path.parent.name, path.stem
    assert fits(path) == ((FITS[kind] or name in OUT_OF_SIGHT) and name not in FITS_NOT)
    checked = subprocess.run([WAYBILL, "check", path], capture_output=True, text=True)
    assert checked.returncode == (0 if kind == "valid" else 1), checked.stderr


def fits(path):
    try:
        document = json.loads(path.read_text())
    except json.JSONDecodeError:
        return False
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
