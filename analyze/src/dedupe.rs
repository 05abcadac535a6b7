//! Removes what several exporters saw.
