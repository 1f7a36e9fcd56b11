// The kernels of probe.cuh.
#include "probe.cuh"

#include "digits.cuh"

namespace pm {

namespace {

template <class P>
PM_HD Field<P> integer_op(FieldOp op, const Field<P>& a) {
    return op == FieldOp::to_integer ? a.to_integer() : Field<P>::from_integer(a);
}
PM_HD Fq2 integer_op(FieldOp, const Fq2& a) { return a; }

template <class F>
struct ProbeField {
    static constexpr const char* kName = "field operation";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 2;
    FieldOp op;
    const F* a;
    const F* b;
    F* out;

    PM_HD void operator()(uint32_t i) const {
        switch (op) {
        case FieldOp::add: out[i] = a[i] + b[i]; break;
        case FieldOp::sub: out[i] = a[i] - b[i]; break;
        case FieldOp::mul: out[i] = a[i] * b[i]; break;
        case FieldOp::neg: out[i] = -a[i]; break;
        case FieldOp::square: out[i] = a[i].squared(); break;
        case FieldOp::inverse: out[i] = a[i].inverse(); break;
        default: out[i] = integer_op(op, a[i]);
        }
    }
};

template <class F>
struct ProbeCurve {
    static constexpr const char* kName = "curve operation";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 2;
    CurveOp op;
    const Affine<F>* a;
    const Affine<F>* b;
    Affine<F>* out;

    PM_HD void operator()(uint32_t i) const {
        // A denominator that is not 1, so that the general formulas are used: 2a - a.
        Xyzz<F> sum = Xyzz<F>::from(a[i]);
        Calls<F>::double_it(sum);
        switch (op) {
        case CurveOp::add:
        case CurveOp::sub:
            Calls<F>::add(sum, a[i], true);
            Calls<F>::add(sum, b[i], op == CurveOp::sub);
            break;
        case CurveOp::add_general: {
            Xyzz<F> other = Xyzz<F>::from(b[i]);
            Calls<F>::double_it(other);
            Calls<F>::add(other, b[i], true);
            Calls<F>::add(sum, a[i], true);
            Calls<F>::add(sum, other);
            break;
        }
        case CurveOp::times_256:
            for (int d = 0; d < 7; d++) Calls<F>::double_it(sum);
            break;
        default: break;
        }
        out[i] = sum.to_affine();
    }
};

struct ProbeRate {
    static constexpr const char* kName = "multiplication rate";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 8;
    Fq* out;
    uint32_t rounds;

    PM_HD void operator()(uint32_t i) const {
        Fq value = Fq::one(), factor = Fq::one().doubled();
        factor.word[0] ^= i & 1;
        for (uint32_t round = 0; round < rounds; round++) value = value * factor;
        out[i] = value;
    }
};

struct ProbeDigits {
    static constexpr const char* kName = "digits";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 2;
    const Fr* scalars;
    int window_bits, windows;
    int32_t* digits;

    PM_HD void operator()(uint32_t i) const {
        Recoder recoder(scalars[i], window_bits);
        for (int w = 0; w < windows; w++) digits[uint64_t(i) * windows + w] = recoder.next();
    }
};

} // namespace

void probe_fq(Stream& stream, FieldOp op, const Fq* a, const Fq* b, Fq* out, uint32_t count) {
    launch_items(stream, count, ProbeField<Fq>{op, a, b, out});
}
void probe_fr(Stream& stream, FieldOp op, const Fr* a, const Fr* b, Fr* out, uint32_t count) {
    launch_items(stream, count, ProbeField<Fr>{op, a, b, out});
}
void probe_fq2(Stream& stream, FieldOp op, const Fq2* a, const Fq2* b, Fq2* out, uint32_t count) {
    launch_items(stream, count, ProbeField<Fq2>{op, a, b, out});
}
void probe_g1(Stream& stream, CurveOp op, const G1Affine* a, const G1Affine* b, G1Affine* out, uint32_t count) {
    launch_items(stream, count, ProbeCurve<Fq>{op, a, b, out});
}
void probe_g2(Stream& stream, CurveOp op, const G2Affine* a, const G2Affine* b, G2Affine* out, uint32_t count) {
    launch_items(stream, count, ProbeCurve<Fq2>{op, a, b, out});
}
void probe_rate(Stream& stream, Fq* out, uint32_t count, uint32_t rounds) { launch_items(stream, count, ProbeRate{out, rounds}); }
void probe_digits(Stream& stream, const Fr* scalars, uint32_t count, int window_bits, int32_t* digits) {
    launch_items(stream, count, ProbeDigits{scalars, window_bits, windows_for(window_bits), digits});
}

} // namespace pm
