"""Holds `forebay summarize` against DuckDB: both answer the same questions on the same flow files.

summarize.py FOREBAY VIEWS DATASET [SEGMENTS]   on a dataset, and on the same flows in segments
summarize.py FOREBAY VIEWS --random FOLDER SEED on random flow files, which are written to FOLDER first

VIEWS is the file of DuckDB macros (views.sql). Prints how many answers were equal as JSON; fails at the first that is not.
"""

import datetime
import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

FIVE_TUPLE = ["src_addr", "dst_addr", "src_port", "dst_port", "protocol"]
DEFAULT_VALUES = ["flows", "packets", "bytes", "first", "last"]


def prefix(side, ipv4, ipv6):
    """The network of an address, of the family's first and else of the other's."""
    mask4 = (0xFFFFFFFF << (32 - ipv4)) & 0xFFFFFFFF
    digits = ipv6 // 4
    assert ipv6 % 4 == 0
    four = f"ipv4_text({side}_ipv4 & {mask4}) || '/{ipv4}'"
    six = (f"ipv6_text(unhex(rpad(left(hex({side}_ipv6), {digits}), 32, '0'))) || '/{ipv6}'")
    return (f"CASE WHEN family = 'ipv6' AND {side}_ipv6 IS NOT NULL OR {side}_ipv4 IS NULL "
            f"THEN {six} ELSE {four} END")


def port_class(column):
    return (f"CASE WHEN {column} < 1024 THEN 'system' WHEN {column} < 49152 THEN 'user' "
            f"WHEN {column} IS NOT NULL THEN 'dynamic' END")


# What groups are made by, in our words and in SQL.
KEYS = {
    **{name: name for name in FIVE_TUPLE},
    "next_hop": "next_hop", "exporter": "exporter", "exporter_port": "exporter_port",
    "observation_domain": "observation_domain", "export_version": "export_version",
    "template_id": "template_id", "tos": "tos", "tcp_flags": "tcp_flags", "icmp_type": "icmp_type",
    "in_if": "in_if", "src_as": "src_as", "dst_mask": "dst_mask", "sampling_rate": "sampling_rate",
    "src_ipv4": "ipv4_text(src_ipv4)", "dst_ipv6": "ipv6_text(dst_ipv6)",
    "src_mac": "mac_text(src_mac)", "reverse_bytes": "reverse_bytes", "received": "received",
    "first": "first", "family": "family",
    "src_prefix/24": prefix("src", 24, 24), "dst_prefix/64": prefix("dst", 32, 64),
    "src_prefix/0/48": prefix("src", 0, 48), "dst_prefix/20/128": prefix("dst", 20, 128),
    "hour": "time_bucket(INTERVAL 1 hour, first AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
    "minute": "time_bucket(INTERVAL 1 minute, first AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
    "bucket:5m": "time_bucket(INTERVAL 5 minute, first AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
    "date": "(first AT TIME ZONE 'UTC')::DATE",
    "src_port_class": port_class("src_port"), "dst_port_class": port_class("dst_port"),
}

VALUES = {
    "flows": "count(*)::UBIGINT",
    "packets": "sum(packets)::UBIGINT",
    "bytes": "sum(bytes)::UBIGINT",
    "first": "min(first)",
    "last": "max(last)",
    "duration": "(epoch_us(max(last)) - epoch_us(min(first)))::DOUBLE / 1000000",
    "tcp_flags": "bit_or(tcp_flags)",
    "icmp_type": "CASE WHEN min(icmp_type) = max(icmp_type) THEN min(icmp_type) END",
    "icmp_code": "CASE WHEN min(icmp_code) = max(icmp_code) THEN min(icmp_code) END",
    "exporters": "count(DISTINCT exporter)::UBIGINT",
    "src_count": "count(DISTINCT src_addr)::UBIGINT",
    "dst_count": "count(DISTINCT dst_addr)::UBIGINT",
}
SCALED = {
    "packets": "sum(packets::HUGEINT * greatest(coalesce(sampling_rate, 1), 1))::UBIGINT",
    "bytes": "sum(bytes::HUGEINT * greatest(coalesce(sampling_rate, 1), 1))::UBIGINT",
}

def ipv4(text):
    return int.from_bytes(bytes(int(part) for part in text.split(".")), "big")


def in_ipv4(column, network, length):
    first = ipv4(network)
    return f"{column} BETWEEN {first} AND {first + 2 ** (32 - length) - 1}"


# An address that is shown as IPv4: of an ipv6 flow only where it has no other.
def src_in_ipv4(network, length):
    return (f"((family <> 'ipv6' OR src_ipv6 IS NULL) AND {in_ipv4('src_ipv4', network, length)})")


# Conditions on single columns, in our words and in SQL.
CONDITIONS = [
    ("protocol = tcp", "protocol = 6"),
    ("protocol != 17", "protocol <> 17"),
    ("dst_port in (80, 443, 53)", "dst_port IN (80, 443, 53)"),
    ("dst_port not in (80, 443)", "dst_port NOT IN (80, 443)"),
    ("port < 1024", "(src_port < 1024 OR dst_port < 1024)"),
    ("src_port >= 32768", "src_port >= 32768"),
    ("bytes > 1e4", "bytes > 10000"),
    ("bytes <= 1.5k", "bytes <= 1500"),
    ("packets = 1", "packets = 1"),
    ("packets is null", "packets IS NULL"),
    ("icmp_type is not null", "icmp_type IS NOT NULL"),
    ("tcp_flags has syn", "(tcp_flags & 2) = 2"),
    ("tcp_flags has syn+ack", "(tcp_flags & 18) = 18"),
    ("src_ipv4 in 10.0.0.0/9", in_ipv4("src_ipv4", "10.0.0.0", 9)),
    ("src_addr in (10.0.0.0/8, 172.16.0.0/12)",
     # Null only where there is no address at all.
     f"CASE WHEN src_addr IS NOT NULL THEN coalesce({src_in_ipv4('10.0.0.0', 8)}, false) "
     f"OR coalesce({src_in_ipv4('172.16.0.0', 12)}, false) END"),
    ("family = ipv6", "family = 'ipv6'"),
    ("duration > 500ms", "epoch_us(last)::HUGEINT - epoch_us(first) > 500000"),
    ("first >= '2026-11-21 16:45'", "first >= TIMESTAMPTZ '2026-11-21 16:45:00+00'"),
    ("received < 2026-11-21T16:41:00Z", "received < TIMESTAMPTZ '2026-11-21 16:41:00+00'"),
    ("exporter != 10.0.0.1", "exporter <> '10.0.0.1'"),
    ("sampling_rate > 1", "sampling_rate > 1"),
    ("tos has 0x4", "(tos & 4) = 4"),
]


def condition(chance, depth=2):
    """A random condition, in our words and in SQL."""
    kind = chance.randrange(6)
    if depth == 0 or kind < 3:
        ours, theirs = chance.choice(CONDITIONS)
        return ours, f"({theirs})"
    one, other = condition(chance, depth - 1), condition(chance, depth - 1)
    if kind == 3:
        return f"not ({one[0]})", f"(NOT {one[1]})"
    word = "and" if kind == 4 else "or"
    return f"({one[0]} {word} {other[0]})", f"({one[1]} {word} {other[1]})"


def questions(chance, count):
    """What is asked: first what everybody asks, then anything."""
    yield [], [], None, False
    yield ["src_addr"], [], None, False
    yield [], list(VALUES), None, False
    yield ["protocol"], list(VALUES), CONDITIONS[0], False
    yield ["exporter", "observation_domain"], ["flows", "packets", "bytes"], None, True
    for key in KEYS:
        yield [key], ["flows", "bytes"], None, False
    for condition_pair in CONDITIONS:
        yield ["protocol", "dst_port"], ["flows", "src_count"], condition_pair, False
    for _ in range(count):
        keys = chance.sample(list(KEYS), chance.randint(1, 5))
        values = chance.sample(list(VALUES), chance.randint(1, 6))
        where = condition(chance) if chance.random() < 0.6 else None
        values = [value for value in values if value not in keys] or ["flows"]
        yield keys, values, where, chance.random() < 0.3


def sql(keys, values, where, scaled):
    columns = [f'{KEYS[key]} AS "{key}"' for key in keys]
    of = {**VALUES, **SCALED} if scaled else VALUES
    columns += [f'{of[value]} AS "{value}"' for value in values]
    condition = f" WHERE {where}" if where else ""
    groups = ", ".join(str(number + 1) for number in range(len(keys)))
    return f"SELECT {', '.join(columns)} FROM flows{condition} GROUP BY {groups}"


class Comparison:
    def __init__(self, forebay, views, folder):
        self.forebay = forebay
        self.folder = pathlib.Path(folder)
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(pathlib.Path(views).read_text())
        self.equal = 0
        self.groups = 0
        self.spilled = 0
        self.skipped = 0

    def flows_of(self, dataset):
        # Read once: the views look at every file for every question.
        self.connection.execute(f"CREATE OR REPLACE TABLE flows AS FROM flows_in('{dataset}')")

    def ask(self, inputs, keys, values, where, scaled, flags, output="answer.parquet"):
        target = self.folder / output
        command = [self.forebay, "summarize", *inputs, "--output", target, "--stats", *flags]
        if keys:
            command += ["--by", ",".join(keys)]
        if values:
            command += ["--values", ",".join(values)]
        if where:
            command += ["--where", where]
        if scaled:
            command.append("--scale-sampling")
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{command}: {done.stderr}")
        stats = json.loads(done.stderr.splitlines()[-1])
        self.spilled += stats["spilled_bytes"] > 0
        self.skipped += stats["parts_left_out"]
        return target, stats

    def check(self, inputs, question, flags):
        keys, values, where, scaled = question
        ours, theirs = where or (None, None)
        target, stats = self.ask(inputs, keys, values, ours, scaled, flags)
        query = sql(keys or FIVE_TUPLE, values or DEFAULT_VALUES, theirs, scaled)
        self.connection.execute(f"CREATE OR REPLACE TABLE theirs AS {query}")
        self.connection.execute(f"CREATE OR REPLACE TABLE ours AS FROM read_parquet('{target}')")
        described = [self.connection.execute(f"DESCRIBE {table}").fetchall() for table in ("ours", "theirs")]
        names = [[column[0] for column in columns] for columns in described]
        assert names[0] == names[1], names
        difference = self.connection.execute(
            "(SELECT 'ours', COLUMNS(*)::VARCHAR FROM (FROM ours EXCEPT ALL FROM theirs)) UNION ALL "
            "(SELECT 'theirs', COLUMNS(*)::VARCHAR FROM (FROM theirs EXCEPT ALL FROM ours)) LIMIT 10").fetchall()
        if difference:
            lines = "\n".join(map(str, difference))
            raise SystemExit(f"{question} {flags}\n{query}\n{names[0]}\n{lines}")
        groups = self.connection.execute("SELECT count(*) FROM ours").fetchone()[0]
        assert stats["groups"] == groups, (stats, groups)
        self.equal += 1
        self.groups += groups

    def result(self):
        return {"equal": self.equal, "groups": self.groups, "spilled": self.spilled,
                "parts_left_out": self.skipped}


# Two threads and one; all in memory and hardly any, so that it spills.
FLAGS = [["--threads", "2"], ["--threads", "1"], ["--threads", "2", "--memory", "1MiB"],
         ["--threads", "1", "--memory", "1MiB"]]


def on_dataset(comparison, dataset, segments, seed, count):
    comparison.flows_of(dataset)
    chance = random.Random(seed)
    turns = itertools.cycle(FLAGS)
    for number, question in enumerate(questions(chance, count)):
        # The first questions in every way, the others in one.
        for flags in FLAGS if number < 4 else [next(turns)]:
            for inputs in [[dataset], *([[segments]] if segments and number % 3 == 0 else [])]:
                comparison.check(inputs, question, flags)


# ---- random flow files

def times(chance):
    start = int(datetime.datetime(2026, 11, 21, 16, 40, tzinfo=datetime.UTC).timestamp()) * 1_000_000
    return lambda: chance.choice([0, start, start + chance.randrange(10**9), start - chance.randrange(10**12)])


def columns(chance, family, rows):
    """Columns of a random file: few values, extremes among them, nulls, some columns missing."""
    def column(kind, value, nulls=0.2):
        return pa.array([None if chance.random() < nulls else value() for _ in range(rows)], kind)

    def number(bits):
        some = [chance.randrange(2**bits) for _ in range(4)]
        return lambda: chance.choice([0, 2**bits - 1, *some])

    addresses4 = [0, 2**32 - 1, ipv4("10.0.0.1"), ipv4("10.127.255.255"), ipv4("172.16.3.4")]
    addresses4 += [ipv4("10.1.0.0") + chance.randrange(2**16) for _ in range(20)]
    addresses6 = [bytes(16), b"\xff" * 16, bytes(10) + b"\xff\xff\x0a\x00\x00\x01", bytes(15) + b"\x01"]
    addresses6 += [b"\x20\x01\x0d\xb8" + bytes(9) + chance.randbytes(3) for _ in range(20)]
    time = pa.timestamp("us", "UTC")
    moment = times(chance)
    exporters = ["10.0.0.1", "192.0.2.1", "2001:db8::1", "10.0.0.2"]
    made = {
        "received": column(time, moment, 0),
        "exporter": column(pa.string(), lambda: chance.choice(exporters), 0).dictionary_encode(),
        "exporter_port": column(pa.uint16(), number(16), 0),
        "observation_domain": column(pa.uint32(), number(32), 0),
        "export_version": column(pa.uint8(), lambda: chance.choice([5, 9, 10]), 0),
        "template_id": column(pa.uint16(), number(16)),
        "first": column(time, moment), "last": column(time, moment),
    }
    own, other = (0.1, 1) if family == "ipv4" else (1, 0.1)
    if chance.random() < 0.3:
        # Records that carry both families, and such that carry only the other.
        own, other = 0.4, 0.4
    for side in ("src", "dst", "next_hop"):
        made[f"{side}_ipv4"] = column(pa.uint32(), lambda: chance.choice(addresses4), own)
        made[f"{side}_ipv6"] = column(pa.binary(16), lambda: chance.choice(addresses6), other)
    for side in ("src_port", "dst_port"):
        made[side] = column(pa.uint16(), lambda: chance.choice([0, 53, 80, 443, 1023, 1024, 49151, 49152, 65535]))
    made["protocol"] = column(pa.uint8(), lambda: chance.choice([0, 1, 6, 17, 58, 255]))
    for name, bits in [("tos", 8), ("tcp_flags", 16), ("icmp_type", 8), ("icmp_code", 8),
                       ("in_if", 32), ("src_as", 32), ("dst_mask", 8)]:
        made[name] = column(pa.uint8() if bits == 8 else pa.uint16() if bits == 16 else pa.uint32(), number(bits))
    # Sums of these, scaled by sampling too, stay below 2^64; but not below 2^53, where floating point ends.
    for name in ("packets", "bytes"):
        made[name] = column(pa.uint64(), lambda: chance.choice([0, 1, 1_500, 12_345, 2**34, 2**40 + 1]))
    made["reverse_bytes"] = column(pa.uint64(), lambda: chance.choice([0, 2**64 - 1, 2**63]), 0.7)
    made["src_mac"] = column(pa.binary(6), lambda: b"\x02\x00\x00\x00\x00" + chance.randbytes(1))
    made["sampling_rate"] = column(pa.uint32(), lambda: chance.choice([1, 10, 1_000]))
    return made


def random_files(folder, seed):
    chance = random.Random(seed)
    # What a collector writes too: all columns and no flows, so that DuckDB knows those that no file has.
    staging = pathlib.Path(folder, "staging")
    staging.mkdir(parents=True)
    pq.write_table(pa.table(columns(chance, "ipv4", 0)), staging / "schema.parquet")
    for family in ("ipv4", "ipv6", "other"):
        for hour in (16, 17):
            rows = chance.choice([1, 500, 3_000])
            table = pa.table(columns(chance, family, rows)).sort_by("received")
            left_out = ["next_hop_ipv6", "tos", "icmp_code", "src_mac", "sampling_rate", "packets"]
            table = table.drop_columns(chance.sample(left_out, 2))
            table = table.replace_schema_metadata({"forebay.family": family})
            place = pathlib.Path(folder, f"family={family}/date=2026-11-21/hour={hour}")
            place.mkdir(parents=True)
            pq.write_table(table, place / "20261121T164000.000000Z-0.parquet", row_group_size=700)
    return str(folder)


def main(forebay, views, *rest):
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(forebay, views, folder)
        if rest[0] == "--random":
            seed = int(rest[2])
            on_dataset(comparison, random_files(rest[1], seed), None, seed, 60)
        else:
            on_dataset(comparison, rest[0], rest[1] if len(rest) > 1 else None, 0, 20)
        print(json.dumps(comparison.result()))


main(*sys.argv[1:])
