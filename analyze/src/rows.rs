//! Rows of 64-bit words, partitioned by key.
