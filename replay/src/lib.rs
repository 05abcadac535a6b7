//! Generate, record and replay export traffic.
