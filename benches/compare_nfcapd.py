#!/usr/bin/env python3
"""Collect the same traffic with nfcapd and with forebay, one after the other, on one core.

    cargo build --release && benches/compare_nfcapd.py [--flows 12M] [--rate 2M/s] [--rounds 3]

Needs nfcapd and nfdump (Debian: nfdump). The collector is pinned to core 0, the sender to core 1;
traffic goes over loopback. Printed per collector: CPU seconds (user and system, of the whole
process until it has ended, so for forebay with settling) per million flows, bytes per flow on
disk, flows stored of those sent, and what the kernel dropped at its socket.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

FOREBAY = Path(__file__).parent.parent / "target/release/forebay"
BUFFER = 64 << 20


def number(text):
    match = re.fullmatch(r"([\d.]+)([kM]?)(/s)?", text)
    return int(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def drops(port):
    """The last column of /proc/net/udp, of the socket on that port (proc(5))."""
    total = 0
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == port:
                total += int(fields[-1])
    return total


def queued(port):
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            return int(fields[4].split(":")[1], 16)
    return 0


def nfcapd(options):
    def command(port, folder):
        return ["nfcapd", "-b", "127.0.0.1", "-p", str(port), "-w", str(folder), "-t", "300",
                "-B", str(BUFFER), *options]

    def stored(folder):
        text = subprocess.run(["nfdump", "-I", "-R", str(folder)], capture_output=True,
                              text=True, check=True).stdout
        return int(re.search(r"^Flows: (\d+)", text, re.M)[1])

    return command, stored


def forebay(options):
    def command(port, folder):
        return [FOREBAY, "collect", "--listen", f"127.0.0.1:{port}", "--output", folder,
                "--shards", "1", "--receive-buffer", str(BUFFER), "--grace", "60s", *options]

    def stored(folder):
        shown = subprocess.run([FOREBAY, "print", folder, "--format", "csv", "--columns",
                                "protocol"], capture_output=True, check=True).stdout
        return shown.count(b"\n") - 1

    return command, stored


COLLECTORS = {
    "nfcapd, plain": nfcapd([]),
    "nfcapd, LZ4": nfcapd(["-y"]),
    "forebay, segments": forebay(["--format", "arrow"]),
    "forebay, Parquet uncompressed": forebay(["--compression", "none"]),
    "forebay, Parquet LZ4": forebay(["--compression", "lz4"]),
    "forebay, Parquet zstd": forebay(["--compression", "zstd"]),
}


def run(name, flows, rate, place):
    command, stored = COLLECTORS[name]
    folder = Path(tempfile.mkdtemp(dir=place))
    port = free_port()
    log = open(folder.with_suffix(".log"), "wb")
    collector = subprocess.Popen(["taskset", "-c", "0", *map(str, command(port, folder))],
                                 stdout=log, stderr=log)
    time.sleep(1)
    sender = ["taskset", "-c", "1", str(FOREBAY), "generate", "--exporters", "200", "--flows",
              str(flows), "--to", f"127.0.0.1:{port}"]
    if rate:
        sender += ["--rate", f"{rate}/s"]
    start = time.monotonic()
    subprocess.run(sender, check=True, capture_output=True)
    seconds = time.monotonic() - start
    while queued(port):
        time.sleep(0.1)
    time.sleep(0.5)
    lost = drops(port)
    collector.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(collector.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, folder.with_suffix(".log").read_text()
    files = [path for path in folder.rglob("*") if path.is_file() and "ledger" not in path.parts]
    # What lies on disk: segments have holes.
    size = sum(path.stat().st_blocks * 512 for path in files)
    count = stored(folder)
    shutil.rmtree(folder)
    cpu = usage.ru_utime + usage.ru_stime
    return {"collector": name, "sent": flows, "stored": count, "kernel_drops": lost,
            "flows_per_s": flows / seconds, "cpu_us_per_flow": cpu * 1e6 / count,
            "user_us": usage.ru_utime * 1e6 / count, "system_us": usage.ru_stime * 1e6 / count,
            "bytes_per_flow": size / count, "peak_MiB": usage.ru_maxrss / 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=number, default=12_000_000)
    parser.add_argument("--rate", type=number, default=2_000_000, help="0: as fast as possible")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="collectors whose name holds this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for _ in range(arguments.rounds):
            for name in COLLECTORS:
                if arguments.only not in name:
                    continue
                result = run(name, arguments.flows, arguments.rate, place)
                if arguments.json:
                    print(json.dumps(result), flush=True)
                    continue
                print(f"{name:30} {result['cpu_us_per_flow']:.3f} µs/flow "
                      f"(user {result['user_us']:.3f}, system {result['system_us']:.3f})  "
                      f"{result['bytes_per_flow']:6.1f} B/flow  "
                      f"{result['stored']:,} of {result['sent']:,} at "
                      f"{result['flows_per_s'] / 1e6:.2f} M/s, {result['kernel_drops']} dropped, "
                      f"{result['peak_MiB']:.0f} MiB", flush=True)


main()
