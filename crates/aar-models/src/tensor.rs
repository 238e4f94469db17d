//! A tensor's stored numbers, widened to f32.

use half::{bf16, f16};
use rayon::prelude::*;

/// Numbers in one block of a quantised tensor; every encoding is read in such blocks.
pub(crate) const BLOCK: usize = 32;

/// How a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Plain single precision.
    F32,
    /// Plain half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Blocks of 32: a half-precision scale and minimum, then 4-bit codes.
    Q4_1,
    /// Blocks of 32: a half-precision scale, then signed bytes.
    Q8_0,
}

impl Encoding {
    /// By GGUF's number.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::F32,
            1 => Self::F16,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Numbers per unit of storage, and that unit's bytes.
    pub(crate) fn unit(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_1 => (BLOCK, 20),
            Self::Q8_0 => (BLOCK, 34),
        }
    }
}

/// A tensor's stored numbers, to be widened to f32.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) data: &'a [u8],
}

impl Tensor<'_> {
    /// One row, `cols` numbers.
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols);
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            self.block(row, i * BLOCK, out);
        }
    }

    /// All numbers, row after row.
    pub fn dense(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        self.dense_into(&mut out, |row| row);
        out
    }

    /// All numbers into `out`, whose row `i` is the stored row `place(i)`.
    pub(crate) fn dense_into(&self, out: &mut [f32], place: impl Fn(usize) -> usize + Sync) {
        out.par_chunks_mut(self.cols)
            .enumerate()
            .for_each(|(i, row)| self.row(place(i), row));
    }

    /// Up to [`BLOCK`] numbers of a row, from a multiple of [`BLOCK`] on.
    fn block(&self, row: usize, from: usize, out: &mut [f32]) {
        let (unit, bytes) = self.encoding.unit();
        let start = (row * self.cols + from) / unit * bytes;
        let data = &self.data[start..start + out.len() / unit * bytes];
        let half = |at: usize| f16::from_le_bytes([data[at], data[at + 1]]).to_f32();
        match self.encoding {
            Encoding::F32 => {
                for (o, b) in out.iter_mut().zip(data.chunks_exact(4)) {
                    *o = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
            Encoding::F16 => {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = half(2 * i);
                }
            }
            Encoding::Bf16 => {
                for (o, b) in out.iter_mut().zip(data.chunks_exact(2)) {
                    *o = bf16::from_le_bytes([b[0], b[1]]).to_f32();
                }
            }
            // The low halves of the 16 bytes are the first 16 numbers, the high halves the rest.
            Encoding::Q4_1 => {
                let (scale, min) = (half(0), half(2));
                let (low, high) = out.split_at_mut(BLOCK / 2);
                for ((l, h), &byte) in low.iter_mut().zip(high).zip(&data[4..]) {
                    *l = f32::from(byte & 15) * scale + min;
                    *h = f32::from(byte >> 4) * scale + min;
                }
            }
            Encoding::Q8_0 => {
                let scale = half(0);
                for (o, &byte) in out.iter_mut().zip(&data[2..]) {
                    *o = f32::from(byte as i8) * scale;
                }
            }
        }
    }
}
