// Single operations of the arithmetic headers as kernels, so that tests can compare what a card computes with what the host computes.
#pragma once

#include "curve.cuh"
#include "runtime.cuh"

namespace pm {

enum class FieldOp : uint32_t { add, sub, mul, neg, square, inverse, to_integer, from_integer, count };
enum class CurveOp : uint32_t { add, sub, add_general, twice, times_256, count };

// All pointers are on the card.
void probe_fq(Stream& stream, FieldOp op, const Fq* a, const Fq* b, Fq* out, uint32_t count);
void probe_fr(Stream& stream, FieldOp op, const Fr* a, const Fr* b, Fr* out, uint32_t count);
void probe_fq2(Stream& stream, FieldOp op, const Fq2* a, const Fq2* b, Fq2* out, uint32_t count);
void probe_g1(Stream& stream, CurveOp op, const G1Affine* a, const G1Affine* b, G1Affine* out, uint32_t count);
void probe_g2(Stream& stream, CurveOp op, const G2Affine* a, const G2Affine* b, G2Affine* out, uint32_t count);
// `rounds` dependent multiplications in each of `count` threads.
void probe_rate(Stream& stream, Fq* out, uint32_t count, uint32_t rounds);
// digits[i * windows + w].
void probe_digits(Stream& stream, const Fr* scalars, uint32_t count, int window_bits, int32_t* digits);

} // namespace pm
