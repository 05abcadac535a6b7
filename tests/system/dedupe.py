"""Reads a dataset without duplicates with DuckDB and pyarrow; prints what they find as JSON."""

import json
import pathlib
import sys

import duckdb
import pyarrow.dataset

root = pathlib.Path(sys.argv[1])
connection = duckdb.connect()
connection.execute((root / "views.sql").read_text())
found = {}
found["duckdb"] = list(connection.execute(
    "SELECT count(*), sum(seen_by)::UBIGINT, sum(len(seen_exporters))::UBIGINT,"
    " count(*) FILTER (list_contains(seen_exporters, exporter)),"
    " sum(packets)::UBIGINT FROM flows").fetchone())
# What the views make of a file without the columns.
found["type"] = connection.execute("SELECT typeof(seen_exporters) FROM flows LIMIT 1").fetchone()[0]
columns = ["exporter", "seen_by", "seen_exporters", "packets"]
rows = []
for family in ("ipv4", "ipv6"):
    table = pyarrow.dataset.dataset(root / f"family={family}", partitioning="hive").to_table(columns)
    rows += table.to_pylist()
found["pyarrow"] = [
    len(rows),
    sum(row["seen_by"] for row in rows),
    sum(len(row["seen_exporters"]) for row in rows),
    sum(row["exporter"] in row["seen_exporters"] for row in rows),
    sum(row["packets"] or 0 for row in rows),
]
print(json.dumps(found))
