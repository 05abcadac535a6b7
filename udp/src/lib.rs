//! UDP datagrams in and out: sockets, capture files, raw sends.
