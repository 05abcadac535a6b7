//! Nothing allocates per call: neither receiving, nor sending, nor reading a capture.

mod allocations;

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use allocations::allocations;
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use forebay_udp::{
    Datagram, Outgoing, OwnSender, PacketOptions, PacketRing, RawSender, Sender, ShardSockets,
    SocketOptions,
};

#[test]
fn receiving_and_sending() {
    let any_port = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let options = SocketOptions {
        receive_buffer_bytes: 1 << 20,
    };
    let mut receiver = ShardSockets::bind(&[any_port(1), any_port(1)], 1, &options)
        .expect("loopback")
        .remove(0);
    let mut sender = Sender::bind(any_port(9), receiver.local_addresses()[1]).expect("loopback");
    let payloads = [&[7u8; 100][..]; 100];
    let mut taken = 0;
    let count = allocations(|| {
        for _ in 0..10 {
            sender.send(&payloads).expect("sent");
            loop {
                let datagrams = receiver.receive(Duration::ZERO).expect("readable");
                if datagrams.len() == 0 {
                    break;
                }
                taken += datagrams.count();
            }
            receiver.kernel_drops();
        }
    });
    assert_eq!((taken, count), (1000, 0));
}

#[test]
fn sending_on() {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let destination = receiver.local_addr().expect("bound");
    let payload = [7; 1000];
    let mut datagrams = [Outgoing {
        source: SocketAddr::from(([192, 0, 2, 1], 50_000)),
        destination,
        payload: &payload,
    }; 100];
    // One that fails.
    datagrams[50].destination.set_port(0);
    let mut failed = 0;

    let mut own = OwnSender::open().expect("a socket");
    let count = allocations(|| {
        for _ in 0..10 {
            own.send(&datagrams, |_, _| failed += 1);
            own.refused().for_each(drop);
        }
    });
    assert_eq!((failed, count), (10, 0));

    // It takes a privilege that the run may not have.
    let Ok(mut raw) = RawSender::open() else {
        return;
    };
    datagrams[50].source.set_ip(Ipv4Addr::UNSPECIFIED.into());
    let mut failed = 0;
    let count = allocations(|| {
        for _ in 0..10 {
            raw.send(&datagrams, |_, _| failed += 1);
        }
    });
    assert_eq!((failed, count), (10, 0));
}

#[test]
fn packets() {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let destination = receiver.local_addr().expect("bound");
    let options = PacketOptions {
        interfaces: Vec::new(),
        listen: vec![destination],
        exclude: Vec::new(),
        shards: 1,
        ring_bytes: 4 << 20,
    };
    // It takes a privilege that the run may not have.
    let Ok(mut rings) = PacketRing::open(&options) else {
        return;
    };
    let mut ring = rings.remove(0);
    let mut sender = Sender::bind((Ipv4Addr::LOCALHOST, 0).into(), destination).expect("loopback");
    let payloads = [&[7u8; 100][..]; 100];
    let mut taken = 0;
    let count = allocations(|| {
        for round in 1..=10 {
            sender.send(&payloads).expect("sent");
            while taken < round * 100 {
                let datagrams = ring.receive(Duration::from_secs(10)).expect("readable");
                assert_ne!(datagrams.len(), 0, "{taken}");
                taken += datagrams.count();
            }
            ring.kernel_drops();
        }
    });
    assert_eq!((taken, count), (1000, 0));
}

#[test]
fn captures() {
    let mut file = Vec::with_capacity(4 << 20);
    let payload = [7; 1000];
    let datagram = Datagram {
        source: SocketAddr::from(([192, 0, 2, 1], 50_000)),
        destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
        received_ns: 1,
        payload: &payload,
    };
    let mut writer = CaptureWriter::new("memory", &mut file).expect("memory");
    let count = allocations(|| {
        for _ in 0..3000 {
            writer.write(&datagram).expect("memory");
        }
    });
    assert_eq!(count, 0);
    drop(writer);

    let mut reader = CaptureReader::from_reader("memory", Cursor::new(file)).expect("a capture");
    let mut taken = 0;
    let count = allocations(|| {
        while let Some(datagram) = reader.next().expect("whole") {
            taken += datagram.payload.len() / 1000;
        }
    });
    assert_eq!((taken, count), (3000, 0));
}
