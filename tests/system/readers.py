"""Reads a dataset with DuckDB, pyarrow and Polars; prints, by reader, the sums that it finds as JSON.

readers.py DATASET SEGMENTS: two datasets of the same flows, one of Parquet and one of Arrow streams.
"""

import ipaddress
import json
import pathlib
import sys

import duckdb
import polars
import pyarrow
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.ipc

COUNTERS = ["packets", "bytes", "reverse_packets", "reverse_bytes"]


def with_duckdb(root):
    connection = duckdb.connect()
    connection.execute(pathlib.Path(root, "views.sql").read_text())
    sums = ", ".join(f"coalesce(sum({name}), 0)::UBIGINT" for name in COUNTERS)
    rows = connection.execute(
        f"SELECT export_version, family, count(*), {sums} FROM flows GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [list(row) for row in rows]


def with_duckdb_ledger(root):
    connection = duckdb.connect()
    connection.execute(pathlib.Path(root, "views.sql").read_text())
    row = connection.execute(
        "SELECT sum(datagrams)::UBIGINT, sum(datagrams_decoded)::UBIGINT, sum(records)::UBIGINT,"
        " sum(records_stored)::UBIGINT, sum(options_records)::UBIGINT, sum(sequence_lost)::BIGINT,"
        " count(DISTINCT exporter) FROM ledger"
    ).fetchone()
    return list(row)


def unreadable_addresses(root):
    """How many flows have addresses in `flows` that Python does not write the same way."""
    connection = duckdb.connect()
    connection.execute(pathlib.Path(root, "views.sql").read_text())
    rows = connection.execute(
        "SELECT src_addr, src_ipv4, src_ipv6, dst_addr, dst_ipv4, dst_ipv6 FROM flows"
    ).fetchall()

    def differs(text, ipv4, ipv6):
        octets = ipv4 if ipv4 is not None else ipv6
        return octets is None or str(ipaddress.ip_address(octets)) != text

    return [len(rows), sum(differs(*row[:3]) or differs(*row[3:]) for row in rows)]


def sums(table):
    """Sums by version and family, of a table of one family."""
    family, table = table
    for name in COUNTERS:
        if name not in table.column_names:
            table = table.append_column(name, pyarrow.nulls(table.num_rows, pyarrow.uint64()))
    found = []
    for version in sorted(set(table["export_version"].to_pylist())):
        part = table.filter(pc.equal(table["export_version"], version))
        counts = [pc.sum(part[name]).as_py() or 0 for name in COUNTERS]
        found.append([version, family, part.num_rows] + counts)
    return found


def families(root):
    return [path.name.removeprefix("family=") for path in sorted(pathlib.Path(root).glob("family=*"))]


def with_pyarrow(root):
    def table(family):
        found = pyarrow.dataset.dataset(f"{root}/family={family}", format="parquet", partitioning="hive")
        return family, found.to_table()

    return sorted(row for family in families(root) for row in sums(table(family)))


def with_pyarrow_ipc(root):
    def table(family):
        tables = []
        for path in sorted(pathlib.Path(root, f"family={family}").rglob("*.arrows")):
            with pyarrow.ipc.open_stream(path) as stream:
                tables.append(stream.read_all())
        return family, pyarrow.concat_tables(tables, promote_options="default")

    return sorted(row for family in families(root) for row in sums(table(family)))


def with_polars(root):
    found = []
    for family in families(root):
        files = sorted(pathlib.Path(root, f"family={family}").rglob("*.parquet"))
        frame = polars.concat([polars.read_parquet(path) for path in files], how="diagonal")
        for name in COUNTERS:
            if name not in frame.columns:
                frame = frame.with_columns(polars.lit(None, dtype=polars.UInt64).alias(name))
        grouped = frame.group_by("export_version").agg(
            polars.len(), *[polars.col(name).sum() for name in COUNTERS]
        )
        for version, *counts in grouped.rows():
            found.append([version, family] + [int(count) for count in counts])
    return sorted(found)


def main(dataset, segments):
    print(
        json.dumps(
            {
                "duckdb": with_duckdb(dataset),
                "pyarrow": with_pyarrow(dataset),
                "polars": with_polars(dataset),
                "pyarrow.ipc": with_pyarrow_ipc(segments),
                "ledger": with_duckdb_ledger(dataset),
                "addresses": unreadable_addresses(dataset),
            }
        )
    )


main(sys.argv[1], sys.argv[2])
