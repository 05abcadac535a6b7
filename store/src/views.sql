-- Forebay's flow files in DuckDB:   duckdb -init views.sql   or   .read views.sql
-- The collector writes this file anew whenever it starts.

-- 3232235777 -> 192.168.1.1
CREATE OR REPLACE MACRO ipv4_text(address) AS
  (address >> 24) || '.' || (address >> 16 & 255) || '.' || (address >> 8 & 255) || '.' || (address & 255);

-- The hexadecimal digits of an IPv6 address -> its groups between colons: :2001:db8:0:0:0:0:0:1:
CREATE OR REPLACE MACRO ipv6_group(digits, start) AS ('0x' || substr(digits, start, 4))::UINTEGER;
CREATE OR REPLACE MACRO ipv6_groups(digits) AS
  format(':{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:',
    ipv6_group(digits, 1), ipv6_group(digits, 5), ipv6_group(digits, 9), ipv6_group(digits, 13),
    ipv6_group(digits, 17), ipv6_group(digits, 21), ipv6_group(digits, 25), ipv6_group(digits, 29));

-- RFC 5952: the first of the longest runs of two or more zero groups becomes ::
CREATE OR REPLACE MACRO ipv6_cut(groups, run) AS
  ltrim(left(groups, strpos(groups, run) - 1), ':') || '::'
    || rtrim(substr(groups, strpos(groups, run) + length(run)), ':');
CREATE OR REPLACE MACRO ipv6_shortest(groups) AS CASE
  WHEN contains(groups, ':0:0:0:0:0:0:0:0:') THEN ipv6_cut(groups, ':0:0:0:0:0:0:0:0:')
  WHEN contains(groups, ':0:0:0:0:0:0:0:') THEN ipv6_cut(groups, ':0:0:0:0:0:0:0:')
  WHEN contains(groups, ':0:0:0:0:0:0:') THEN ipv6_cut(groups, ':0:0:0:0:0:0:')
  WHEN contains(groups, ':0:0:0:0:0:') THEN ipv6_cut(groups, ':0:0:0:0:0:')
  WHEN contains(groups, ':0:0:0:0:') THEN ipv6_cut(groups, ':0:0:0:0:')
  WHEN contains(groups, ':0:0:0:') THEN ipv6_cut(groups, ':0:0:0:')
  WHEN contains(groups, ':0:0:') THEN ipv6_cut(groups, ':0:0:')
  ELSE trim(groups, ':') END;

-- The 16 octets of an address -> 2001:db8::1; of a mapped IPv4 address -> ::ffff:192.0.2.1
-- (A list of one element is how an expression gets a name and is computed once.)
CREATE OR REPLACE MACRO ipv6_text(address) AS
  [CASE WHEN starts_with(digits, '00000000000000000000FFFF')
    THEN '::ffff:' || ipv4_text(('0x' || right(digits, 8))::UINTEGER)
    ELSE [ipv6_shortest(groups) FOR groups IN [ipv6_groups(digits)]][1] END
  FOR digits IN [hex(address)]][1];

-- The 6 octets of an address -> 00:00:5e:00:53:01
CREATE OR REPLACE MACRO mac_text(address) AS
  rtrim(regexp_replace(lower(hex(address)), '(..)', '\1:', 'g'), ':');

-- A folder's name as a pattern that matches it alone.
CREATE OR REPLACE MACRO forebay_pattern(dir) AS
  regexp_replace(dir, '([\[*?])', '[\1]', 'g');

-- All flows of a dataset, with readable addresses. A condition on "date" or "hour" leaves out the
-- files of other partitions; one on "received", a port or a numeric address leaves out row groups.
-- (The pattern is family=* and staging, where schema.parquet holds no flow, only the columns: so that
-- this works from the first moment.)
CREATE OR REPLACE MACRO flows_in(dir) AS TABLE
  SELECT
    family, received, exporter, first, last,
    CASE WHEN family = 'ipv6' AND src_ipv6 IS NOT NULL OR src_ipv4 IS NULL
      THEN ipv6_text(src_ipv6) ELSE ipv4_text(src_ipv4) END AS src_addr,
    CASE WHEN family = 'ipv6' AND dst_ipv6 IS NOT NULL OR dst_ipv4 IS NULL
      THEN ipv6_text(dst_ipv6) ELSE ipv4_text(dst_ipv4) END AS dst_addr,
    CASE WHEN family = 'ipv6' AND next_hop_ipv6 IS NOT NULL OR next_hop_ipv4 IS NULL
      THEN ipv6_text(next_hop_ipv6) ELSE ipv4_text(next_hop_ipv4) END AS next_hop,
    * EXCLUDE (family, received, exporter, first, last)
  FROM (
    SELECT
      regexp_extract(filename, '/family=([a-z0-9]+)/[^/]+/[^/]+/[^/]+$', 1) AS family,
      try_cast(regexp_extract(filename, '/date=([0-9-]+)/[^/]+/[^/]+$', 1) AS DATE) AS date,
      try_cast(regexp_extract(filename, '/hour=([0-9]+)/[^/]+$', 1) AS UTINYINT) AS hour,
      * EXCLUDE (filename)
    FROM read_parquet(forebay_pattern(dir) || '/[fs][at][ma][ig][li][yn][=g]*/**/*.parquet',
      union_by_name = true, hive_partitioning = false, filename = true));

-- What arrived, what was lost, per exporter and interval.
CREATE OR REPLACE MACRO ledger_in(dir) AS TABLE
  SELECT * FROM read_parquet(forebay_pattern(dir) || '/ledger/**/*.parquet',
    union_by_name = true, hive_partitioning = false);

