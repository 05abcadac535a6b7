#!/usr/bin/env python3
"""Route the same traffic by sockets, by the packet ring, and with samplicate, on one core.

    cargo build --release && benches/compare_routing.py [--flows 16M] [--rate 4M/s] [--rounds 3] [--link]

Needs root: it runs in a network namespace of its own. The router is pinned to core 0, the sender
(`forebay generate`, 200 exporters) to core 1, and its traffic goes over loopback. So does what the
router sends, to collectors that are sockets which nobody reads; their buffers are soon full, and the
kernel drops there what comes, on the router's account. With --link the collectors are behind a veth
link to another namespace, where nobody has their addresses: nearer to a router on a network, where
the collectors' share of the work is done by other machines.

Printed per router: CPU time of the whole process (user and system) per datagram forwarded, that of
the sender per datagram (it does the kernel's work of taking datagrams in, for the ring more than for
a socket), datagrams forwarded of those sent, and what the kernel dropped before the router.

samplicate (github.com/sleinen/samplicator) is the peer where it is installed, with one collector:
with more it sends each of them everything.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

FOREBAY = Path(__file__).parent.parent / "target/release/forebay"
BUFFER = 64 << 20
LISTEN = "127.0.0.1"
# Set in the namespace.
INSIDE = "FOREBAY_BENCH_NAMESPACE"


def number(text):
    match = re.fullmatch(r"([\d.]+)([kM]?)(/s)?", text)
    return int(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LISTEN, 0))
        return sock.getsockname()[1]


def udp(port):
    """Queued bytes and drops of the sockets on that port (proc(5))."""
    queued = drops = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            queued += int(fields[4].split(":")[1], 16)
            drops += int(fields[-1])
    return queued, drops


class Nobody:
    """Collectors behind a link, whose addresses nobody has."""

    def __init__(self, count):
        self.count = count

    def addresses(self):
        return [(f"198.51.100.{host}", 2055) for host in range(2, 2 + self.count)]

    def close(self):
        pass


class Sinks:
    """Collectors that read nothing."""

    def __init__(self, count):
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        for sock in self.sockets:
            sock.bind((LISTEN, 0))

    def addresses(self):
        return [sock.getsockname() for sock in self.sockets]

    def close(self):
        for sock in self.sockets:
            sock.close()


def forebay(how):
    def command(port, http, sinks):
        to = ",".join(f"{host}:{sink}" for host, sink in sinks)
        return [FOREBAY, "route", "--input", how, "--listen", f"{LISTEN}:{port}", "--to", to,
                "--threads", "1", "--http", f"{LISTEN}:{http}", "--receive-buffer", str(BUFFER),
                "--ring-size", str(BUFFER)]

    return command


def samplicate(port, http, sinks):
    to = [f"{host}/{sink}" for host, sink in sinks]
    return ["samplicate", "-S", "-n", "-s", LISTEN, "-p", str(port), "-b", str(BUFFER), *to]


def stats(http):
    with urllib.request.urlopen(f"http://{LISTEN}:{http}/stats", timeout=5) as answer:
        return json.load(answer)["total"]


def cpu(usage):
    return usage.ru_utime + usage.ru_stime


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def link():
    """A link to another namespace, which is gone with the process that is returned."""
    far = subprocess.Popen(["unshare", "--net", "sleep", "86400"])
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{far.pid}/ns/net") == own:
        time.sleep(0.01)
    ip(f"link add near type veth peer name far netns {far.pid}")
    ip("address add 198.51.100.1/24 dev near")
    ip("link set near up")
    subprocess.run(["nsenter", f"--net=/proc/{far.pid}/ns/net", "ip", "link", "set", "far", "up"],
                   check=True)
    for host, _ in Nobody(9).addresses():
        ip(f"neighbour add {host} lladdr 02:00:00:00:00:02 dev near")
    return far


def run(name, command, sinks, flows, rate):
    collectors = len(sinks.addresses())
    port, http = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    words = [str(word) for word in command(port, http, sinks.addresses())]
    router = subprocess.Popen(["taskset", "-c", "0", *words], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    # For the ring: somebody has the port, so that the kernel refuses nothing.
    beside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if "packets" in words:
        beside.bind((LISTEN, port))
    time.sleep(1)
    sender = ["taskset", "-c", "1", str(FOREBAY), "generate", "--exporters", "200", "--flows",
              str(flows), "--to", f"{LISTEN}:{port}"]
    if rate:
        sender += ["--rate", f"{rate}/s"]
    start = time.monotonic()
    sending = subprocess.Popen(sender, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = sending.stdout.read()
    _, status, sent_usage = os.wait4(sending.pid, 0)
    seconds = time.monotonic() - start
    assert os.waitstatus_to_exitcode(status) == 0, said
    sent = int(re.search(r"([\d,]+) (?:messages|datagrams)", said)[1].replace(",", ""))
    while "packets" not in words and udp(port)[0]:
        time.sleep(0.1)
    time.sleep(1)
    if name == "samplicate":
        dropped = udp(port)[1]
        forwarded = sent - dropped
    else:
        total = stats(http)
        dropped = total["kernel_drops"]
        forwarded = total["forwarded"]["datagrams"]
    router.send_signal(signal.SIGTERM)
    _, _, usage = os.wait4(router.pid, 0)
    sinks.close()
    beside.close()
    return {"router": name, "collectors": collectors, "sent": sent, "forwarded": forwarded,
            "kernel_drops": dropped, "datagrams_per_s": sent / seconds,
            "cpu_us": cpu(usage) * 1e6 / forwarded, "user_us": usage.ru_utime * 1e6 / forwarded,
            "system_us": usage.ru_stime * 1e6 / forwarded,
            "sender_us": cpu(sent_usage) * 1e6 / sent}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=number, default=16_000_000)
    parser.add_argument("--rate", type=number, default=4_000_000, help="0: as fast as possible")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="routers whose name holds this")
    parser.add_argument("--link", action="store_true", help="collectors behind a link")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        os.execvpe("unshare", ["unshare", "--net", *sys.argv], os.environ | {INSIDE: "1"})
    ip("link set lo up")
    far = link() if arguments.link else None
    routers = [(f"forebay, {how}", forebay(how), count)
               for count in (1, 7) for how in ("socket", "packets")]
    if shutil.which("samplicate"):
        routers.append(("samplicate", samplicate, 1))
    else:
        print("samplicate is not installed: there is no peer to compare with")
    for _ in range(arguments.rounds):
        for name, command, collectors in routers:
            if arguments.only not in name:
                continue
            sinks = (Nobody if far else Sinks)(collectors)
            result = run(name, command, sinks, arguments.flows, arguments.rate)
            if arguments.json:
                print(json.dumps(result), flush=True)
                continue
            print(f"{name:16} to {collectors}  {result['cpu_us']:.2f} µs/datagram (user "
                  f"{result['user_us']:.2f}, system {result['system_us']:.2f}); sender "
                  f"{result['sender_us']:.2f}; {result['forwarded']:,} of {result['sent']:,} at "
                  f"{result['datagrams_per_s'] / 1e3:.0f} k/s, {result['kernel_drops']} dropped",
                  flush=True)
    if far:
        far.kill()


main()
