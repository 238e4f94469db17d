//! Inner loops over `f32` slices, compiled once for any x86-64 and once for AVX2.
//!
//! The binary must start on any machine, so it is not built for the one it is built on; the wide
//! version is picked at run time.

/// Lanes of the accumulators: enough independent sums to hide the latency of an addition.
const LANES: usize = 32;

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[inline(always)]
fn axpy_body(factor: f32, x: &[f32], y: &mut [f32]) {
    for (target, value) in y.iter_mut().zip(x) {
        *target += factor * value;
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    #[target_feature(enable = "avx2")]
    pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
        super::dot_body(a, b)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn axpy(factor: f32, x: &[f32], y: &mut [f32]) {
        super::axpy_body(factor, x, y);
    }
}

/// Scalar product. Slices of different length are cut to the shorter.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature that the function is compiled for was detected just now.
        return unsafe { wide::dot(a, b) };
    }
    dot_body(a, b)
}

/// `y += factor · x`, over the shorter of the two lengths.
pub fn axpy(factor: f32, x: &[f32], y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature that the function is compiled for was detected just now.
        unsafe { wide::axpy(factor, x, y) };
        return;
    }
    axpy_body(factor, x, y);
}

/// Scalar product in double precision.
#[must_use]
pub fn dot64(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
