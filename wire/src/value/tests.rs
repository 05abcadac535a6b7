//! Tests of field contents.

use super::*;

#[track_caller]
fn shows(data_type: DataType, content: &[u8], expected: &str) {
    assert_eq!(Value::new(data_type, content).to_string(), expected);
}

#[test]
fn integers_of_any_length_to_eight() {
    shows(DataType::Unsigned64, &[1, 0], "256");
    shows(DataType::Unsigned8, &[0, 0, 1, 0], "256");
    shows(DataType::Unsigned64, &[0xff; 8], "18446744073709551615");
    shows(DataType::Unsigned256, &[7], "7");
    shows(DataType::Signed32, &[0xff], "-1");
    shows(DataType::Signed32, &[0xff, 0xfe], "-2");
    shows(DataType::Signed64, &[0x7f, 0xff], "32767");
    shows(
        DataType::Signed64,
        &[0x80, 0, 0, 0, 0, 0, 0, 0],
        "-9223372036854775808",
    );
}

#[test]
fn floats_of_both_lengths() {
    shows(DataType::Float64, &0.25_f64.to_be_bytes(), "0.25");
    shows(DataType::Float64, &0.25_f32.to_be_bytes(), "0.25");
}

#[test]
fn booleans_are_one_and_two() {
    shows(DataType::Boolean, &[1], "true");
    shows(DataType::Boolean, &[2], "false");
    shows(DataType::Boolean, &[0], "0x00");
}

#[test]
fn addresses() {
    shows(DataType::Ipv4Address, &[192, 0, 2, 1], "192.0.2.1");
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    address[15] = 1;
    shows(DataType::Ipv6Address, &address, "2001:db8::1");
    shows(
        DataType::MacAddress,
        &[0, 0x1b, 0x21, 2, 3, 0xff],
        "00:1b:21:02:03:ff",
    );
}

#[test]
fn texts_lose_their_padding_and_cannot_command_a_terminal() {
    shows(DataType::String, b"eth0\0\0\0", "eth0");
    shows(DataType::String, b"", "");
    shows(DataType::String, b"\x1b[2J", "\\u{1b}[2J");
    shows(DataType::String, &[0xff, 0xfe], "0xfffe");
}

#[test]
fn times_from_both_epochs() {
    shows(
        DataType::DateTimeSeconds,
        &1_700_000_000_u32.to_be_bytes(),
        "1700000000",
    );
    shows(
        DataType::DateTimeMilliseconds,
        &1_700_000_000_007_u64.to_be_bytes(),
        "1700000000.007",
    );
    let ntp: u64 = (1_700_000_000 + 2_208_988_800) << 32 | 0x8000_0000;
    shows(
        DataType::DateTimeMicroseconds,
        &ntp.to_be_bytes(),
        "1700000000.500000",
    );
    shows(
        DataType::DateTimeNanoseconds,
        &ntp.to_be_bytes(),
        "1700000000.500000000",
    );
}

#[test]
fn ntp_wraps_in_2036() {
    // 2036-02-07T06:28:15Z is the last second of NTP's first era, and the next is 0.
    assert_eq!(unix_time_of_ntp(u32::MAX, 0).secs, 2_085_978_495);
    assert_eq!(unix_time_of_ntp(0, 0).secs, 2_085_978_496);
    assert_eq!(unix_time_of_ntp(0, u32::MAX).nanos, 999_999_999);
}

#[test]
fn a_length_that_contradicts_the_type_shows_the_octets() {
    shows(DataType::Ipv4Address, &[1, 2], "0x0102");
    shows(DataType::Unsigned32, &[], "-");
    shows(DataType::Signed32, &[1; 9], "0x010101010101010101");
    shows(DataType::Unsigned64, &[0; 9], "0x000000000000000000");
    shows(DataType::MacAddress, &[1; 8], "0x0101010101010101");
    shows(DataType::DateTimeMicroseconds, &[1; 4], "0x01010101");
    shows(DataType::BasicList, &[3, 0, 8], "0x030008");
}
