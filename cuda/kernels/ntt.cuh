// Transforms over Fr on domains of 2^k elements without a bit reversal, as crates/bn254/src/ntt.rs has them.
//
// With the powers of the root in bit-reversed order, every block of a layer uses one twiddle factor:
// - scatter (Cooley-Tukey butterflies) takes natural order to bit-reversed order;
// - gather (Gentleman-Sande butterflies) takes bit-reversed order to natural order;
// either with the inverse root is the inverse transform times 2^k. A pass does up to 8 layers in the shared memory of a block: it fetches
// 2^m rows, a power of two apart, of 4 neighbouring columns, so that a fetch is 128 bytes without a gap. The multiplication
// that moves coefficients to the odd coset (s w^i, s^2 = w) is part of the last pass of the inverse transform, and A*B - C part of the last
// pass of the transform of A.
#pragma once

#include "field.cuh"
#include "memory.cuh"
#include "runtime.cuh"

namespace pm {

constexpr int kMaxLayers = 8;
constexpr int kMaxDomainLog = 27;

// base^bitrev(i) for i < 2^log as the product of an entry of `low` and one of `high`.
struct SplitPowers {
    const Fr* low;
    const Fr* high;
    int low_bits;

    PM_HD Fr operator[](uint32_t i) const { return low[i & ((1u << low_bits) - 1)] * high[i >> low_bits]; }
};

// Tables of a domain, resident on the card: 2^(k-1) twiddles and the split powers of s, divided by 2^k.
class Domain {
  public:
    Domain() = default;
    // `coset_shift` is s, a primitive 2^(k+1)-th root of unity; `size_inverse` is 2^-k. Both in Montgomery form.
    Domain(Stream& stream, int log_size, const Fr& coset_shift, const Fr& size_inverse);
    static uint64_t bytes(int log_size);

    int log_size() const { return log_size_; }
    const Fr* twiddles() const { return tables_.data(); }
    SplitPowers shift() const;

  private:
    int log_size_ = 0;
    Buffer<Fr> tables_;
};

enum class Order { scatter, gather };

struct Transform {
    Order order;
    bool inverse;
    // Multiplied into place i after a scatter (before its result is stored); none if null.
    const SplitPowers* scale_after;
    // After a gather: value * other_factor[i] - other_subtrahend[i]; none if null.
    const Fr* other_factor;
    const Fr* other_subtrahend;
};

// Transforms `batch` polynomials of 2^k elements that follow each other, in place.
void transform(Stream& stream, const Domain& domain, Fr* values, uint32_t batch, const Transform& transform);

// From the values of A, B, C on the domain, one after the other, to those of A*B - C on the odd coset, in the place of A: three transforms there
// and three back, six in all.
void quotient(Stream& stream, const Domain& domain, Fr* values);

// out = a * b, place by place.
void multiply(Stream& stream, const Fr* a, const Fr* b, Fr* out, uint32_t count);

} // namespace pm
