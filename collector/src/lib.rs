//! Exporters, templates, decoding and the ledger.
