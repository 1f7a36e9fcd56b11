// Multi-word arithmetic with a carry: the add, subtract and multiply-add instructions of PTX that read or write the carry flag
// (PTX ISA 8, section 9.7.2), and the same instructions spelt out in C++.
//
// Invariant: both forms compute the same, instruction by instruction, so that every sequence that runs on a card also runs, word for
// word, in tests without one. On a card the flag is the hardware's: the statements of one chain must stay together, which `volatile`
// keeps, and nothing between them may touch the flag.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define PM_HD __host__ __device__ __forceinline__
#define PM_HD_CALL __host__ __device__ __noinline__
#define PM_UNROLL _Pragma("unroll")
#else
#define PM_HD inline
#define PM_HD_CALL inline
#define PM_UNROLL
#endif

namespace pm {

#if defined(__CUDA_ARCH__)

struct Chain {
#define PM_OP2(name, ptx)                                                              \
    PM_HD uint32_t name(uint32_t a, uint32_t b) {                                      \
        uint32_t r;                                                                    \
        asm volatile(ptx " %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));                   \
        return r;                                                                      \
    }
#define PM_OP3(name, ptx)                                                              \
    PM_HD uint32_t name(uint32_t a, uint32_t b, uint32_t c) {                          \
        uint32_t r;                                                                    \
        asm volatile(ptx " %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));       \
        return r;                                                                      \
    }
    PM_OP2(add_cc, "add.cc.u32")
    PM_OP2(addc_cc, "addc.cc.u32")
    PM_OP2(addc, "addc.u32")
    PM_OP2(sub_cc, "sub.cc.u32")
    PM_OP2(subc_cc, "subc.cc.u32")
    PM_OP2(subc, "subc.u32")
    PM_OP3(mad_lo_cc, "mad.lo.cc.u32")
    PM_OP3(madc_lo_cc, "madc.lo.cc.u32")
    PM_OP3(madc_hi_cc, "madc.hi.cc.u32")
    PM_OP3(madc_hi, "madc.hi.u32")
#undef PM_OP2
#undef PM_OP3
};

#else

struct Chain {
    uint64_t carry = 0;

    PM_HD uint32_t add_cc(uint32_t a, uint32_t b) { return keep(uint64_t(a) + b); }
    PM_HD uint32_t addc_cc(uint32_t a, uint32_t b) { return keep(uint64_t(a) + b + carry); }
    PM_HD uint32_t addc(uint32_t a, uint32_t b) { return uint32_t(a + b + carry); }
    PM_HD uint32_t sub_cc(uint32_t a, uint32_t b) { return borrow(uint64_t(a) - b); }
    PM_HD uint32_t subc_cc(uint32_t a, uint32_t b) { return borrow(uint64_t(a) - b - carry); }
    PM_HD uint32_t subc(uint32_t a, uint32_t b) { return uint32_t(a - b - carry); }
    PM_HD uint32_t mad_lo_cc(uint32_t a, uint32_t b, uint32_t c) { return keep(uint64_t(low(a, b)) + c); }
    PM_HD uint32_t madc_lo_cc(uint32_t a, uint32_t b, uint32_t c) { return keep(uint64_t(low(a, b)) + c + carry); }
    PM_HD uint32_t madc_hi_cc(uint32_t a, uint32_t b, uint32_t c) { return keep(uint64_t(high(a, b)) + c + carry); }
    PM_HD uint32_t madc_hi(uint32_t a, uint32_t b, uint32_t c) { return uint32_t(high(a, b) + c + carry); }

  private:
    PM_HD uint32_t keep(uint64_t sum) {
        carry = sum >> 32;
        return uint32_t(sum);
    }
    PM_HD uint32_t borrow(uint64_t difference) {
        carry = (difference >> 32) & 1;
        return uint32_t(difference);
    }
    static PM_HD uint32_t low(uint32_t a, uint32_t b) { return a * b; }
    static PM_HD uint32_t high(uint32_t a, uint32_t b) { return uint32_t((uint64_t(a) * b) >> 32); }
};

#endif

} // namespace pm
