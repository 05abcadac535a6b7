//! NetFlow v5, v9 and IPFIX: bytes to typed views and back.
