//! Compression of pages.

use std::io;

use bytes::Bytes;
use parquet::basic::Compression as ParquetCompression;
use parquet::basic::ZstdLevel;
use zstd::bulk::Compressor;

use crate::settle::Compression;

/// A compressor with its working memory.
pub(super) enum Codec {
    None,
    Lz4,
    Zstd(Compressor<'static>),
}

impl Codec {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd(Compressor::new(1)?),
        })
    }

    /// Parquet's name of it.
    pub(super) fn parquet(&self) -> ParquetCompression {
        match self {
            Self::None => ParquetCompression::UNCOMPRESSED,
            Self::Lz4 => ParquetCompression::LZ4_RAW,
            Self::Zstd(_) => ParquetCompression::ZSTD(ZstdLevel::default()),
        }
    }

    pub(super) fn compress(&mut self, page: &Bytes) -> io::Result<Bytes> {
        match self {
            Self::None => Ok(page.clone()),
            Self::Lz4 => Ok(lz4_flex::block::compress(page).into()),
            Self::Zstd(compressor) => compressor.compress(page).map(Bytes::from),
        }
    }
}
