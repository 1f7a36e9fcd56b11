// Scalars as signed digits. A scalar s above (r-1)/2 is taken as -(r-s), which makes -1, -2, ... as cheap as 1, 2, ...; then
// s = sum d_w 2^(c w) with -2^(c-1) < d_w <= 2^(c-1). What is left is below 2^253, so with c * windows >= 254 the last digit takes
// the last carry.
#pragma once

#include "field.cuh"

namespace pm {

constexpr int kMinWindowBits = 2, kMaxWindowBits = 24;

constexpr int windows_for(int window_bits) { return (254 + window_bits - 1) / window_bits; }

class Recoder {
  public:
    PM_HD Recoder(const Fr& scalar, int window_bits) : value_(scalar.to_integer()), bits_(window_bits), carry_(0) {
        Fr opposite = -value_;
        // Exactly one of s and r - s is at most (r-1)/2, unless both are 0.
        negative_ = false;
        for (int i = 7; i >= 0; i--) {
            if (value_.word[i] != opposite.word[i]) {
                negative_ = value_.word[i] > opposite.word[i];
                break;
            }
        }
        if (negative_) value_ = opposite;
    }

    // The next digit, least significant first.
    PM_HD int32_t next() {
        uint32_t half = 1u << (bits_ - 1);
        uint32_t digit = (value_.word[0] & ((half << 1) - 1)) + carry_;
        PM_UNROLL
        for (int i = 0; i < 7; i++) value_.word[i] = (value_.word[i] >> bits_) | (value_.word[i + 1] << (32 - bits_));
        value_.word[7] >>= bits_;
        carry_ = digit > half;
        int32_t balanced = int32_t(digit) - int32_t(carry_ ? half << 1 : 0);
        return negative_ ? -balanced : balanced;
    }

    // Whether all further digits are zero.
    PM_HD bool done() const { return carry_ == 0 && value_.is_zero(); }

  private:
    Fr value_;
    int bits_;
    uint32_t carry_;
    bool negative_;
};

} // namespace pm
