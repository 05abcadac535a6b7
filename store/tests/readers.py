"""Reads a dataset with DuckDB, pyarrow and Polars; prints what each finds as JSON."""

import json
import pathlib
import sys

import duckdb
import polars
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.ipc


def with_duckdb(root):
    connection = duckdb.connect()
    connection.execute(open(f"{root}/views.sql").read())

    def rows(query):
        return [list(row) for row in connection.execute(query).fetchall()]

    return {
        "totals": rows(
            "SELECT family, count(*), sum(packets)::UBIGINT, sum(bytes)::UBIGINT"
            " FROM flows GROUP BY family ORDER BY family"
        ),
        "addresses": rows(
            "SELECT DISTINCT src_addr, dst_addr, next_hop FROM flows"
            " WHERE family = 'ipv6' ORDER BY src_addr"
        ),
        "first_ipv4": rows(
            "SELECT src_addr, src_ipv4 FROM flows WHERE family = 'ipv4' LIMIT 1"
        ),
        "exporters": rows("SELECT count(DISTINCT exporter) FROM flows"),
        "partitions": rows("SELECT DISTINCT date::VARCHAR, hour FROM flows"),
        "absent": rows("SELECT count(nat_event) FROM flows"),
        "ledger": rows(
            "SELECT count(*), sum(datagrams)::UBIGINT, sum(len(reasons))::UBIGINT FROM ledger"
        ),
    }


def with_pyarrow(root):
    found = pyarrow.dataset.dataset(f"{root}/family=ipv4", partitioning="hive")
    table = found.to_table(columns=["packets", "bytes", "date", "exporter"])
    return {
        "totals": [table.num_rows, pc.sum(table["packets"]).as_py(), pc.sum(table["bytes"]).as_py()],
        "types": {name: str(found.schema.field(name).type) for name in ("received", "exporter", "src_ipv4", "src_port")},
    }


def with_polars(root):
    files = sorted(pathlib.Path(root, "family=ipv4").rglob("*.parquet"))
    frame = polars.scan_parquet(files, hive_partitioning=True, glob=False)
    totals = frame.select(
        polars.len(), polars.col("packets").sum(), polars.col("bytes").sum()
    ).collect()
    return {"totals": [int(value) for value in totals.row(0)]}


def with_pyarrow_segment(path):
    with pyarrow.ipc.open_stream(path) as stream:
        table = stream.read_all()
    return {
        "totals": [table.num_rows, pc.sum(table["packets"]).as_py(), pc.sum(table["bytes"]).as_py()],
        "exporters": sorted({str(name) for name in table["exporter"].to_pylist()}),
    }


def main(root, segment):
    print(
        json.dumps(
            {
                "duckdb": with_duckdb(root),
                "pyarrow": with_pyarrow(root) if segment else None,
                "polars": with_polars(root) if segment else None,
                "segment": with_pyarrow_segment(segment) if segment else None,
            }
        )
    )


main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
