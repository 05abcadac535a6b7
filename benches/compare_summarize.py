#!/usr/bin/env python3
"""Summarize the same flows with forebay, DuckDB and nfdump, one after the other.

    cargo build --release
    benches/compare_summarize.py DATA --make 24M             make the flows, once
    benches/compare_summarize.py DATA [--rounds 3]           every program, by 5-tuple
    benches/compare_summarize.py DATA --top 10               without the cost of writing every group
    benches/compare_summarize.py DATA --linear 6M,24M,96M    how the cost grows with the rows
    benches/compare_summarize.py DATA --memory 512MiB        forebay, all in memory and within so much

DATA is a folder: `parquet/` and `segments/`, datasets as `forebay collect` writes them, and `nfdump/`, files of nfcapd;
`--make` makes those of the three that are missing, of one capture. Of what is there, each is measured. Needs
FOREBAY_PYTHON with DuckDB (or this Python has it), and nfdump. Answers are written to a file: Parquet; of nfdump, text.
Printed per program: wall time, CPU seconds (user and system) and peak memory, each the best and the median of the rounds,
and the groups in the answer. nfdump finds 0.3 % more: nfcapd takes ICMP flows of v9 exporters that tell type and code only in
the destination port for type 0 and code 0, so that they are groups of their own beside the flows of others. FOREBAY names another program than target/release/forebay.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOREBAY = Path(os.environ.get("FOREBAY", Path(__file__).resolve().parent.parent / "target/release/forebay"))
PYTHON = os.environ.get("FOREBAY_PYTHON", sys.executable)
FIVE_TUPLE = "src_addr,dst_addr,src_port,dst_port,protocol"

# Numeric addresses are quicker for DuckDB than text: it gets them, and writes them as they are.
DUCKDB = """
import duckdb, pathlib, sys
data, target, threads, top = sys.argv[1:]
# A family that no flow has, has no columns.
families = [f for f in ("ipv4", "ipv6") if pathlib.Path(data, "parquet", "family=" + f).is_dir()]
addresses = ", ".join(f"{side}_{family}" for family in families for side in ("src", "dst"))
connection = duckdb.connect()
connection.execute(f"SET threads = {threads}")
connection.execute("SET preserve_insertion_order = false")
connection.execute(f'''COPY (
    SELECT {addresses}, src_port, dst_port, protocol,
           count(*) AS flows, sum(packets) AS packets, sum(bytes) AS bytes, min(first) AS first, max(last) AS last
    FROM read_parquet('{data}/parquet/family=*/**/*.parquet', union_by_name = true)
    GROUP BY ALL {"ORDER BY flows DESC LIMIT " + top if top else ""}) TO '{target}' (FORMAT parquet)''')
"""


def number(text):
    match = re.fullmatch(r"([\d.]+)([kM]?)", str(text))
    return int(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


def measured(command, **options):
    """Runs a command to its end: wall time, CPU seconds, peak memory in MiB, and what it printed to standard error."""
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], stderr=errors,
                                   stdout=options.get("stdout", subprocess.DEVNULL))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        told = errors.read().decode()
    assert process.returncode == 0, f"{command}: {told}"
    return {"wall_s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_MiB": usage.ru_maxrss / 1024}, told


def with_forebay(inputs, folder, flags=()):
    command = [FOREBAY, "summarize", *inputs, "--stats", "--output", folder / "answer.parquet", *flags]
    result, told = measured(command)
    stats = json.loads(told.splitlines()[-1])
    result.update(groups=stats["groups"], rows=stats["rows"], spilled_MiB=stats["spilled_bytes"] / 2**20)
    return result


def with_duckdb(data, folder, top):
    target = folder / "answer.parquet"
    result, _ = measured([PYTHON, "-c", DUCKDB, data, target, os.cpu_count(), top])
    count = "import duckdb, sys; print(duckdb.execute(f\"SELECT count(*), sum(flows)::BIGINT FROM '{sys.argv[1]}'\").fetchall()[0])"
    told = subprocess.run([PYTHON, "-c", count, target], check=True, capture_output=True, text=True).stdout
    result["groups"], result["rows"] = map(int, re.findall(r"\d+", told))
    return result


def with_nfdump(data, folder):
    with open(folder / "answer.csv", "wb") as answer:
        result, _ = measured(["nfdump", "-R", data / "nfdump", "-A", "srcip,dstip,srcport,dstport,proto",
                              "-o", "fmt:%sa %da %sp %dp %pr %fl %pkt %byt %ts %te", "-q", "-N"], stdout=answer)
    with open(folder / "answer.csv", "rb") as answer:
        result["groups"] = sum(1 for _ in answer)
    return result


def programs(data, arguments):
    found = {}
    top = arguments.top or ""
    flags = ["--top", top] if top else []
    if (data / "segments").is_dir():
        found["forebay, segments"] = lambda folder: with_forebay([data / "segments"], folder, flags)
    if (data / "parquet").is_dir():
        found["forebay, Parquet"] = lambda folder: with_forebay([data / "parquet"], folder, flags)
        found["DuckDB, Parquet"] = lambda folder: with_duckdb(data, folder, top)
    if (data / "nfdump").is_dir() and not top:
        found["nfdump -A"] = lambda folder: with_nfdump(data, folder)
    return {name: run for name, run in found.items() if arguments.only in name}


def show(name, results):
    def of(key):
        values = [result[key] for result in results if key in result]
        return f"{min(values):8.2f} – {statistics.median(values):8.2f}" if values else "-"

    last = results[-1]
    spilled = f", {last['spilled_MiB']:.0f} MiB put aside" if last.get("spilled_MiB") else ""
    print(f"{name:38} wall {of('wall_s')} s   CPU {of('cpu_s')} s   peak {of('peak_MiB')} MiB   "
          f"{last['groups']:,} groups{spilled}", flush=True)


def run(name, work, rounds, place, as_json):
    results = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            results.append(work(Path(folder)))
        if as_json:
            print(json.dumps({"program": name, **results[-1]}), flush=True)
    if not as_json:
        show(name, results)
    return results


def flow_files(folder, count, rows, place):
    """Files of about so many rows: a part of those of a dataset, or all, several times under other names."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".parquet", ".arrows")
                   and "family=" in str(path))
    target = Path(tempfile.mkdtemp(dir=place))
    # Links need no space; each name is read as a file of its own.
    names = [files[number % len(files)] for number in range(round(len(files) * count / rows))]
    for number, path in enumerate(names):
        (target / f"{number}{path.suffix}").hardlink_to(path)
    return target


def linear(data, counts, arguments):
    for kind in ("segments", "parquet"):
        if not (data / kind).is_dir() or arguments.only not in kind:
            continue
        rows = with_forebay([data / kind], Path(tempfile.mkdtemp(dir=data)), ["--by", "family"])["rows"]
        for count in counts:
            files = flow_files(data / kind, count, rows, data)
            flags = ["--top", "10"]
            results = run(f"forebay, {kind}, {count / 1e6:.0f} M rows",
                          lambda folder: with_forebay([files], folder, flags),
                          arguments.rounds, data, arguments.json)
            best = min(results, key=lambda result: result["cpu_s"])
            if not arguments.json:
                print(f"{'':38} {best['cpu_s'] / best['rows'] * 1e9:.1f} CPU ns per row of {best['rows']:,}")
            shutil.rmtree(files)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def make(data, flows, keys):
    data.mkdir(exist_ok=True)
    capture = data / "exports.pcap"
    subprocess.run([FOREBAY, "generate", "--flows", str(flows), "--keys", str(keys), "--exporters", "200",
                    "--ipv6-share", "0", "--rate", "400k/s", "--output", capture], check=True)
    for name, flags in {"segments": ["--format", "arrow"], "parquet": ["--compression", "lz4"]}.items():
        if (data / name).is_dir():
            continue
        subprocess.run([FOREBAY, "collect", "--read", capture, "--output", data / name, "--rotate", "20s", *flags],
                       check=True, capture_output=True)
    folder, port = data / "nfdump", free_port()
    folder.mkdir()
    nfcapd = subprocess.Popen(["nfcapd", "-b", "127.0.0.1", "-p", str(port), "-w", folder, "-t", "300",
                               "-B", str(64 << 20)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    subprocess.run([FOREBAY, "replay", capture, "--to", f"127.0.0.1:{port}", "--fps", "250k"], check=True)
    time.sleep(2)
    nfcapd.send_signal(signal.SIGTERM)
    nfcapd.wait()
    capture.unlink()
    told = subprocess.run(["nfdump", "-I", "-R", folder], capture_output=True, text=True, check=True).stdout
    print(f"nfcapd has {re.search(r'^Flows: (.*)', told, re.M)[1]} of {flows} flows")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--make", type=number, metavar="FLOWS")
    parser.add_argument("--keys", type=number, default=19_500_000,
                        help="5-tuples to choose from: of 24 M flows, 4.4 M are different")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="programs whose name holds this")
    parser.add_argument("--top", help="write only so many groups: what grouping costs, without the answer")
    parser.add_argument("--linear", help="numbers of rows")
    parser.add_argument("--memory", help="a limit to compare with none")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    data = arguments.data
    if arguments.make:
        return make(data, arguments.make, arguments.keys)
    if arguments.linear:
        return linear(data, [number(text) for text in arguments.linear.split(",")], arguments)
    if arguments.memory:
        for kind in ("segments", "parquet"):
            for flags in ([], ["--memory", arguments.memory]):
                name = " ".join([f"forebay, {kind}", *flags])
                run(name, lambda folder: with_forebay([data / kind], folder, flags), arguments.rounds, data, arguments.json)
        return None
    for name, work in programs(data, arguments).items():
        run(name, work, arguments.rounds, data, arguments.json)
    return None


main()
