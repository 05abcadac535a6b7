//! The router: splits export traffic over collectors by exporter, and finds the split that is even.
#![forbid(unsafe_code)]
