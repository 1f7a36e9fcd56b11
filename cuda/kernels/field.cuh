// The two prime fields of BN254, elements in Montgomery form (value * 2^256 mod p) as eight 32-bit words, least significant first:
// the bytes of halo2curves' and arkworks' elements.
//
// Invariant: every element is below its modulus. Nothing here runs in constant time.
#pragma once

#include "chain.cuh"

namespace pm {

#define PM_WORDS(name, w0, w1, w2, w3, w4, w5, w6, w7)                                                                       \
    static PM_HD constexpr uint32_t name(int i) {                                                                            \
        return i == 0 ? w0 : i == 1 ? w1 : i == 2 ? w2 : i == 3 ? w3 : i == 4 ? w4 : i == 5 ? w5 : i == 6 ? w6 : w7;          \
    }

// The field of coordinates, q.
struct FqParams {
    PM_WORDS(modulus, 0xd87cfd47u, 0x3c208c16u, 0x6871ca8du, 0x97816a91u, 0x8181585du, 0xb85045b6u, 0xe131a029u, 0x30644e72u)
    // 2^256 mod q and 2^512 mod q.
    PM_WORDS(one, 0xc58f0d9du, 0xd35d438du, 0xf5c70b3du, 0x0a78eb28u, 0x7879462cu, 0x666ea36fu, 0x9a07df2fu, 0x0e0a77c1u)
    PM_WORDS(square, 0x538afa89u, 0xf32cfc5bu, 0xd44501fbu, 0xb5e71911u, 0x0a417ff6u, 0x47ab1effu, 0xcab8351fu, 0x06d89f71u)
    // -1/q mod 2^32.
    static constexpr uint32_t kNegativeInverse = 0xe4866389u;
};

// The field of scalars, r.
struct FrParams {
    PM_WORDS(modulus, 0xf0000001u, 0x43e1f593u, 0x79b97091u, 0x2833e848u, 0x8181585du, 0xb85045b6u, 0xe131a029u, 0x30644e72u)
    PM_WORDS(one, 0x4ffffffbu, 0xac96341cu, 0x9f60cd29u, 0x36fc7695u, 0x7879462eu, 0x666ea36fu, 0x9a07df2fu, 0x0e0a77c1u)
    PM_WORDS(square, 0xae216da7u, 0x1bb8e645u, 0xe35c59e3u, 0x53fe3ab1u, 0x53bb8085u, 0x8c49833du, 0x7f4e44a5u, 0x0216d0b1u)
    static constexpr uint32_t kNegativeInverse = 0xefffffffu;
};

#undef PM_WORDS

template <class P>
struct alignas(16) Field {
    uint32_t word[8];

    static PM_HD Field zero() {
        Field r;
        PM_UNROLL
        for (int i = 0; i < 8; i++) r.word[i] = 0;
        return r;
    }
    static PM_HD Field one() {
        Field r;
        PM_UNROLL
        for (int i = 0; i < 8; i++) r.word[i] = P::one(i);
        return r;
    }

    PM_HD bool is_zero() const {
        uint32_t any = 0;
        PM_UNROLL
        for (int i = 0; i < 8; i++) any |= word[i];
        return any == 0;
    }
    PM_HD bool operator==(const Field& b) const {
        uint32_t any = 0;
        PM_UNROLL
        for (int i = 0; i < 8; i++) any |= word[i] ^ b.word[i];
        return any == 0;
    }

    PM_HD Field operator+(const Field& b) const {
        // Both are below p < 2^254, so the sum has no carry.
        Field sum;
        Chain c;
        sum.word[0] = c.add_cc(word[0], b.word[0]);
        PM_UNROLL
        for (int i = 1; i < 7; i++) sum.word[i] = c.addc_cc(word[i], b.word[i]);
        sum.word[7] = c.addc(word[7], b.word[7]);
        return sum.reduced();
    }
    PM_HD Field operator-(const Field& b) const {
        Field difference;
        Chain c;
        difference.word[0] = c.sub_cc(word[0], b.word[0]);
        PM_UNROLL
        for (int i = 1; i < 8; i++) difference.word[i] = c.subc_cc(word[i], b.word[i]);
        uint32_t negative = c.subc(0, 0);
        Chain d;
        difference.word[0] = d.add_cc(difference.word[0], negative & P::modulus(0));
        PM_UNROLL
        for (int i = 1; i < 7; i++) difference.word[i] = d.addc_cc(difference.word[i], negative & P::modulus(i));
        difference.word[7] = d.addc(difference.word[7], negative & P::modulus(7));
        return difference;
    }
    PM_HD Field operator-() const { return is_zero() ? *this : zero() - *this; }
    PM_HD Field doubled() const { return *this + *this; }
    PM_HD Field squared() const { return *this * *this; }

    // Montgomery product a * b / 2^256, one word of b a row (CIOS; Koc, Acar, Kaliski, "Analyzing and comparing Montgomery
    // multiplication algorithms", 1996, section 5). The words of a at even and at odd places are multiplied into two sums, the second
    // one word further up, because a multiply-add yields a low and a high word: so each carry chain runs without a gap, as in
    // sppark. p < 2^254 leaves the room that no carry leaves the top word.
    PM_HD Field operator*(const Field& b) const {
        uint32_t even[8], odd[8];
        first_row(even, odd, b.word[0]);
        row(odd, even, b.word[1]);
        PM_UNROLL
        for (int i = 2; i < 8; i += 2) {
            row(even, odd, b.word[i]);
            row(odd, even, b.word[i + 1]);
        }
        Field r;
        Chain c;
        r.word[0] = c.add_cc(even[0], odd[1]);
        PM_UNROLL
        for (int i = 1; i < 7; i++) r.word[i] = c.addc_cc(even[i], odd[i + 1]);
        r.word[7] = c.addc(even[7], 0);
        return r.reduced();
    }

    // The value itself as an integer below the modulus.
    PM_HD Field to_integer() const {
        Field one_word = zero();
        one_word.word[0] = 1;
        return *this * one_word;
    }
    // From an integer below the modulus.
    static PM_HD Field from_integer(const Field& integer) {
        Field square;
        PM_UNROLL
        for (int i = 0; i < 8; i++) square.word[i] = P::square(i);
        return integer * square;
    }

    // 1/a by Fermat, a^(p-2); 0 for 0.
    PM_HD_CALL Field inverse() const {
        Field result = one();
        for (int bit = 253; bit >= 0; bit--) {
            result = result.squared();
            uint32_t word_of_exponent = P::modulus(bit >> 5) - ((bit >> 5) == 0 ? 2 : 0);
            if ((word_of_exponent >> (bit & 31)) & 1) result = result * *this;
        }
        return result;
    }

  private:
    // Subtracts the modulus if it is not above.
    PM_HD Field reduced() const {
        Field difference;
        Chain c;
        difference.word[0] = c.sub_cc(word[0], P::modulus(0));
        PM_UNROLL
        for (int i = 1; i < 8; i++) difference.word[i] = c.subc_cc(word[i], P::modulus(i));
        uint32_t below = c.subc(0, 0);
        Field r;
        PM_UNROLL
        for (int i = 0; i < 8; i++) r.word[i] = below ? word[i] : difference.word[i];
        return r;
    }

    PM_HD void first_row(uint32_t* even, uint32_t* odd, uint32_t b) const {
        PM_UNROLL
        for (int i = 0; i < 8; i += 2) {
            uint64_t low = uint64_t(word[i]) * b, high = uint64_t(word[i + 1]) * b;
            even[i] = uint32_t(low);
            even[i + 1] = uint32_t(low >> 32);
            odd[i] = uint32_t(high);
            odd[i + 1] = uint32_t(high >> 32);
        }
        reduce_row(even, odd);
    }

    // `odd` is the former even sum: its word 0 is 0 by now, its word 1 belongs to the new word 0, the others move down two places.
    PM_HD void row(uint32_t* even, uint32_t* odd, uint32_t b) const {
        Chain c;
        even[0] = c.add_cc(even[0], odd[1]);
        PM_UNROLL
        for (int i = 0; i < 6; i += 2) {
            odd[i] = c.madc_lo_cc(word[i + 1], b, odd[i + 2]);
            odd[i + 1] = c.madc_hi_cc(word[i + 1], b, odd[i + 3]);
        }
        odd[6] = c.madc_lo_cc(word[7], b, 0);
        odd[7] = c.madc_hi(word[7], b, 0);
        Chain d;
        even[0] = d.mad_lo_cc(word[0], b, even[0]);
        even[1] = d.madc_hi_cc(word[0], b, even[1]);
        PM_UNROLL
        for (int i = 2; i < 8; i += 2) {
            even[i] = d.madc_lo_cc(word[i], b, even[i]);
            even[i + 1] = d.madc_hi_cc(word[i], b, even[i + 1]);
        }
        odd[7] = d.addc(odd[7], 0);
        reduce_row(even, odd);
    }

    // Adds the multiple of the modulus that makes word 0 zero.
    static PM_HD void reduce_row(uint32_t* even, uint32_t* odd) {
        uint32_t m = even[0] * P::kNegativeInverse;
        Chain c;
        odd[0] = c.mad_lo_cc(P::modulus(1), m, odd[0]);
        odd[1] = c.madc_hi_cc(P::modulus(1), m, odd[1]);
        PM_UNROLL
        for (int i = 2; i < 6; i += 2) {
            odd[i] = c.madc_lo_cc(P::modulus(i + 1), m, odd[i]);
            odd[i + 1] = c.madc_hi_cc(P::modulus(i + 1), m, odd[i + 1]);
        }
        odd[6] = c.madc_lo_cc(P::modulus(7), m, odd[6]);
        odd[7] = c.madc_hi(P::modulus(7), m, odd[7]);
        Chain d;
        even[0] = d.mad_lo_cc(P::modulus(0), m, even[0]);
        even[1] = d.madc_hi_cc(P::modulus(0), m, even[1]);
        PM_UNROLL
        for (int i = 2; i < 8; i += 2) {
            even[i] = d.madc_lo_cc(P::modulus(i), m, even[i]);
            even[i + 1] = d.madc_hi_cc(P::modulus(i), m, even[i + 1]);
        }
        odd[7] = d.addc(odd[7], 0);
    }
};

using Fq = Field<FqParams>;
using Fr = Field<FrParams>;

// Fq[u] / (u^2 + 1).
struct alignas(16) Fq2 {
    Fq c0, c1;

    static PM_HD Fq2 zero() { return {Fq::zero(), Fq::zero()}; }
    static PM_HD Fq2 one() { return {Fq::one(), Fq::zero()}; }
    PM_HD bool is_zero() const { return c0.is_zero() && c1.is_zero(); }
    PM_HD bool operator==(const Fq2& b) const { return c0 == b.c0 && c1 == b.c1; }
    PM_HD Fq2 operator+(const Fq2& b) const { return {c0 + b.c0, c1 + b.c1}; }
    PM_HD Fq2 operator-(const Fq2& b) const { return {c0 - b.c0, c1 - b.c1}; }
    PM_HD Fq2 operator-() const { return {-c0, -c1}; }
    PM_HD Fq2 doubled() const { return {c0.doubled(), c1.doubled()}; }
    PM_HD Fq2 operator*(const Fq2& b) const {
        Fq low = c0 * b.c0, high = c1 * b.c1;
        Fq cross = (c0 + c1) * (b.c0 + b.c1);
        return {low - high, cross - low - high};
    }
    PM_HD Fq2 squared() const {
        Fq product = c0 * c1;
        return {(c0 + c1) * (c0 - c1), product.doubled()};
    }
    PM_HD_CALL Fq2 inverse() const {
        Fq scale = (c0.squared() + c1.squared()).inverse();
        return {c0 * scale, -(c1 * scale)};
    }
};

} // namespace pm
