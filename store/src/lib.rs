//! Flow schema, batches, segments and flow files.
