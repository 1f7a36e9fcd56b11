// Arithmetic modulo the two primes of BN254 and in Fq2: plain and small, made to be read.
#pragma once

#include <cstdint>

struct Fr_modulus {
    static constexpr uint64_t limb[4] = {0x43e1f593f0000001, 0x2833e84879b97091, 0xb85045b68181585d, 0x30644e72e131a029};
};

struct Fq_modulus {
    static constexpr uint64_t limb[4] = {0x3c208c16d87cfd47, 0x97816a916871ca8d, 0xb85045b68181585d, 0x30644e72e131a029};
};

// -1 / modulus modulo 2^64, by Newton: each step doubles the correct bits.
template <class M>
constexpr uint64_t negative_inverse()
{
    uint64_t inverse = 1;
    for (int i = 0; i < 6; i++) inverse *= 2 - M::limb[0] * inverse;
    return 0 - inverse;
}

// Four limbs below the modulus, kept in Montgomery form (value * 2^256).
template <class M>
struct Field {
    uint64_t limb[4] = {0, 0, 0, 0};

    static bool below_modulus(const uint64_t* a)
    {
        for (int i = 3; i >= 0; i--)
            if (a[i] != M::limb[i]) return a[i] < M::limb[i];
        return false;
    }

    void reduce_once(uint64_t carry)
    {
        if (!carry && below_modulus(limb)) return;
        __int128 borrow = 0;
        for (int i = 0; i < 4; i++) {
            borrow += (__int128)limb[i] - M::limb[i];
            limb[i] = (uint64_t)borrow;
            borrow >>= 64;
        }
    }

    friend Field operator+(const Field& a, const Field& b)
    {
        Field sum;
        unsigned __int128 carry = 0;
        for (int i = 0; i < 4; i++) {
            carry += (unsigned __int128)a.limb[i] + b.limb[i];
            sum.limb[i] = (uint64_t)carry;
            carry >>= 64;
        }
        sum.reduce_once((uint64_t)carry);
        return sum;
    }

    friend Field operator-(const Field& a, const Field& b)
    {
        Field result;
        __int128 borrow = 0;
        for (int i = 0; i < 4; i++) {
            borrow += (__int128)a.limb[i] - b.limb[i];
            result.limb[i] = (uint64_t)borrow;
            borrow >>= 64;
        }
        if (borrow) {
            unsigned __int128 carry = 0;
            for (int i = 0; i < 4; i++) {
                carry += (unsigned __int128)result.limb[i] + M::limb[i];
                result.limb[i] = (uint64_t)carry;
                carry >>= 64;
            }
        }
        return result;
    }

    // a * b / 2^256: schoolbook, one limb of b at a time.
    friend Field operator*(const Field& a, const Field& b)
    {
        constexpr uint64_t per_limb = negative_inverse<M>();
        uint64_t t[6] = {0, 0, 0, 0, 0, 0};
        for (int i = 0; i < 4; i++) {
            unsigned __int128 carry = 0;
            for (int j = 0; j < 4; j++) {
                carry += (unsigned __int128)a.limb[j] * b.limb[i] + t[j];
                t[j] = (uint64_t)carry;
                carry >>= 64;
            }
            carry += t[4];
            t[4] = (uint64_t)carry;
            t[5] = (uint64_t)(carry >> 64);
            const uint64_t factor = t[0] * per_limb;
            carry = (unsigned __int128)factor * M::limb[0] + t[0];
            carry >>= 64;
            for (int j = 1; j < 4; j++) {
                carry += (unsigned __int128)factor * M::limb[j] + t[j];
                t[j - 1] = (uint64_t)carry;
                carry >>= 64;
            }
            carry += t[4];
            t[3] = (uint64_t)carry;
            t[4] = t[5] + (uint64_t)(carry >> 64);
        }
        Field product;
        for (int i = 0; i < 4; i++) product.limb[i] = t[i];
        product.reduce_once(t[4]);
        return product;
    }

    bool operator==(const Field& other) const
    {
        for (int i = 0; i < 4; i++)
            if (limb[i] != other.limb[i]) return false;
        return true;
    }

    bool is_zero() const { return *this == Field(); }

    // 2^512 modulo the modulus, by doubling.
    static Field two_512()
    {
        Field value;
        value.limb[0] = 1;
        for (int i = 0; i < 512; i++) value = value + value;
        return value;
    }

    static Field from_canonical(const uint64_t* limbs)
    {
        static const Field shift = two_512();
        Field value;
        for (int i = 0; i < 4; i++) value.limb[i] = limbs[i];
        return value * shift;
    }

    // The same value out of Montgomery form, as bare limbs.
    Field canonical() const
    {
        Field one;
        one.limb[0] = 1;
        return *this * one;
    }

    static Field small(uint64_t value)
    {
        const uint64_t limbs[4] = {value, 0, 0, 0};
        return from_canonical(limbs);
    }

    // By Fermat: to the power of the modulus minus two; 0 for 0.
    Field inverse() const
    {
        Field result = small(1);
        for (int bit = 255; bit >= 0; bit--) {
            result = result * result;
            uint64_t word = M::limb[bit / 64];
            if (bit < 64) word -= 2;
            if ((word >> (bit % 64)) & 1) result = result * *this;
        }
        return result;
    }
};

using Fr = Field<Fr_modulus>;
using Fq = Field<Fq_modulus>;

// c0 + c1 * u with u^2 = -1.
struct Fq2 {
    Fq c0, c1;

    friend Fq2 operator+(const Fq2& a, const Fq2& b) { return {a.c0 + b.c0, a.c1 + b.c1}; }
    friend Fq2 operator-(const Fq2& a, const Fq2& b) { return {a.c0 - b.c0, a.c1 - b.c1}; }
    friend Fq2 operator*(const Fq2& a, const Fq2& b)
    {
        return {a.c0 * b.c0 - a.c1 * b.c1, a.c0 * b.c1 + a.c1 * b.c0};
    }
    bool operator==(const Fq2& other) const { return c0 == other.c0 && c1 == other.c1; }
    bool is_zero() const { return c0.is_zero() && c1.is_zero(); }
    static Fq2 small(uint64_t value) { return {Fq::small(value), Fq()}; }
};
