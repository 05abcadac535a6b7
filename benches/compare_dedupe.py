#!/usr/bin/env python3
"""Remove the duplicates of the same flows with forebay and with DuckDB, one after the other.

    cargo build --release && benches/compare_dedupe.py [--flows 24M] [--rounds 3] [--data DIR]

Flows of 200 exporters, of which a part was seen by two or more, are generated, collected into
segments and into Parquet files (kept in DIR where that is given), and freed of duplicates: forebay
from either, only reporting, and writing either; DuckDB (PyPI: duckdb) from Parquet to Parquet, by a
window over key and counters: a row goes if the one before it is another exporter's and began two
seconds earlier at most. That is less than forebay does (no chains, no list of who saw a flow), and
comes to about as many rows. Printed: seconds, CPU seconds of user and system, the most memory
(resident, with pages of files that are read), flows kept; the least of the rounds. With --quarter
forebay runs with a quarter of the memory that its rows took, so that it has to put them aside.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOREBAY = Path(__file__).parent.parent / "target/release/forebay"
KEY = ["src_ipv4", "dst_ipv4", "src_port", "dst_port", "protocol"]

DUCKDB = """
import duckdb, sys
source, target = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET preserve_insertion_order = false")
connection.execute("SET enable_progress_bar = false")
connection.execute(f'''
    COPY (
      SELECT * EXCLUDE (previous_exporter, previous_first)
      FROM (
        SELECT *, lag(exporter) OVER same AS previous_exporter, lag(first) OVER same AS previous_first
        FROM read_parquet('{source}/family=*/**/*.parquet', hive_partitioning = false)
        WINDOW same AS (PARTITION BY src_ipv4, dst_ipv4, src_port, dst_port, protocol, packets, bytes
                        ORDER BY first, exporter))
      WHERE previous_exporter IS NULL OR previous_exporter = exporter
        OR first - previous_first > INTERVAL 2 SECOND
    ) TO '{target}.parquet' (COMPRESSION zstd)''')
print(connection.execute(f"SELECT count(*) FROM '{target}.parquet'").fetchone()[0])
"""


def number(text):
    match = re.fullmatch(r"([\d.]+)([kM]?)", text)
    return int(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


def make(folder, flows, binary):
    capture = folder / "all.pcap"
    subprocess.run([binary, "generate", "--exporters", "200", "--flows", str(flows), "--keys",
                    str(max(flows * 11 // 60, 1000)), "--ipv6-share", "0", "--duplicates", "0.3",
                    "--rate", "20k", "--output", capture], check=True, capture_output=True)
    for form in ("arrow", "parquet"):
        subprocess.run([binary, "collect", "--read", capture, "--format", form, "--output",
                        folder / form], check=True, capture_output=True)
    capture.unlink()


def measure(command):
    """Seconds, CPU seconds, most memory in MB, and what it printed."""
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    seconds = time.monotonic() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed.decode()


def remove(path):
    for found in (path, Path(f"{path}.parquet")):
        if found.is_dir():
            shutil.rmtree(found)
        elif found.exists():
            found.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--flows", type=number, default=24_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--forebay", type=Path, default=FOREBAY)
    parser.add_argument("--python", default=sys.executable, help="one that has duckdb")
    parser.add_argument("--quarter", action="store_true")
    parser.add_argument("--only", default="", help="works whose name holds this")
    arguments = parser.parse_args()
    binary = arguments.forebay
    place = Path(tempfile.mkdtemp())
    data = arguments.data or place
    data.mkdir(exist_ok=True)
    if not (data / "parquet").exists():
        make(data, arguments.flows, binary)
    output = place / "output"

    def forebay(source, *flags):
        key = ",".join(name.replace("_ipv4", "_addr") for name in KEY)
        return [binary, "dedupe", "--key", key, "--json", *flags, data / source]

    works = {}
    for source in ("arrow", "parquet"):
        works[f"forebay, {source}, report only"] = forebay(source, "--dry-run")
        for form in ("arrow", "parquet"):
            to = ["--output", output, "--format", form]
            works[f"forebay, {source} to {form}"] = forebay(source, *to)
    works["forebay, parquet to parquet, LZ4"] = forebay(
        "parquet", "--output", output, "--compression", "lz4")
    has_duckdb = subprocess.run([arguments.python, "-c", "import duckdb"], capture_output=True)
    if has_duckdb.returncode == 0:
        works["DuckDB, parquet to parquet"] = [
            arguments.python, "-c", DUCKDB, data / "parquet", output]
    if arguments.quarter:
        *_, printed = measure(works["forebay, arrow, report only"])
        quarter = json.loads(printed)["peak_row_memory"] // 4
        for name in ("forebay, arrow, report only", "forebay, parquet to parquet"):
            works[f"{name}, a quarter of the memory"] = [*works[name], "--memory", quarter]
    print(f"{'':55} {'s':>7} {'CPU s':>7} {'MB':>7} {'kept':>11}")
    for name, command in works.items():
        if arguments.only not in name:
            continue
        best = None
        for _ in range(arguments.rounds):
            remove(output)
            found = measure(command)
            best = found if best is None or found[0] < best[0] else best
        remove(output)
        seconds, cpu, memory, printed = best
        kept = int(printed) if name.startswith("DuckDB") else json.loads(printed)["flows_kept"]
        print(f"{name:55} {seconds:7.2f} {cpu:7.2f} {memory:7.0f} {kept:11,}", flush=True)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
