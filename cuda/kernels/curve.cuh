// Points of G1 (over Fq) and G2 (over Fq2): affine as the key has them, and in XYZZ coordinates (x = X/ZZ, y = Y/ZZZ, ZZ^3 = ZZZ^2)
// as sums are kept. Formulas: Explicit-Formulas Database, "XYZZ coordinates for short Weierstrass curves", add-2008-s, madd-2008-s,
// dbl-2008-s-1, mdbl-2008-s-1, with a = 0.
//
// Invariant: all exceptional cases are handled (infinity, equal points, opposite points), so sums may take any points in any order.
// Neither curve has points of order 2, so no finite point has y = 0.
#pragma once

#include "field.cuh"

namespace pm {

// (0, 0) is infinity.
template <class F>
struct alignas(16) Affine {
    F x, y;

    PM_HD bool is_infinity() const { return x.is_zero() && y.is_zero(); }
};

// ZZ = 0 is infinity, so memory full of zeros is full of points at infinity.
template <class F>
struct alignas(16) Xyzz {
    F x, y, zz, zzz;

    static PM_HD Xyzz infinity() { return {F::zero(), F::zero(), F::zero(), F::zero()}; }
    static PM_HD Xyzz from(const Affine<F>& p) {
        if (p.is_infinity()) return infinity();
        return {p.x, p.y, F::one(), F::one()};
    }
    PM_HD bool is_infinity() const { return zz.is_zero(); }

    // Adds an affine point, or its negative: 8M + 2S.
    PM_HD void add(const Affine<F>& p, bool negative) {
        if (p.is_infinity()) return;
        F py = negative ? -p.y : p.y;
        if (is_infinity()) {
            *this = {p.x, py, F::one(), F::one()};
            return;
        }
        F dx = p.x * zz - x;
        F dy = py * zzz - y;
        if (dx.is_zero()) {
            *this = dy.is_zero() ? doubled_affine(p.x, py) : infinity();
            return;
        }
        finish_addition(dx, dy, x, y);
    }

    // Adds a point: 12M + 2S.
    PM_HD void add(const Xyzz& p) {
        if (p.is_infinity()) return;
        if (is_infinity()) {
            *this = p;
            return;
        }
        F u = x * p.zz, s = y * p.zzz;
        F dx = p.x * zz - u;
        F dy = p.y * zzz - s;
        if (dx.is_zero()) {
            *this = dy.is_zero() ? p.doubled() : infinity();
            return;
        }
        zz = zz * p.zz;
        zzz = zzz * p.zzz;
        finish_addition(dx, dy, u, s);
    }

    // 6M + 3S.
    PM_HD Xyzz doubled() const {
        if (is_infinity()) return *this;
        Xyzz r = doubled_affine(x, y);
        r.zz = r.zz * zz;
        r.zzz = r.zzz * zzz;
        return r;
    }

    // One inversion.
    PM_HD_CALL Affine<F> to_affine() const {
        if (is_infinity()) return {F::zero(), F::zero()};
        return scaled_by(zzz.inverse());
    }
    // The affine point, given 1/ZZZ: 1/ZZ = (ZZ/ZZZ)^2.
    PM_HD Affine<F> scaled_by(const F& inverse_zzz) const {
        F inverse_z = inverse_zzz * zz;
        return {x * inverse_z.squared(), y * inverse_zzz};
    }

  private:
    // The double of the point whose X and Y these are when its ZZ and ZZZ are taken as 1.
    static PM_HD Xyzz doubled_affine(const F& x, const F& y) {
        F u = y.doubled();
        F v = u.squared();
        F w = u * v;
        F s = x * v;
        F xx = x.squared();
        F m = xx.doubled() + xx;
        F x3 = m.squared() - s.doubled();
        return {x3, m * (s - x3) - w * y, v, w};
    }

    // u, s: X and Y of this point brought to the common denominators in zz and zzz.
    PM_HD void finish_addition(const F& dx, const F& dy, const F& u, const F& s) {
        F pp = dx.squared();
        F ppp = dx * pp;
        F q = u * pp;
        F t = s * ppp;
        zz = zz * pp;
        zzz = zzz * ppp;
        x = dy.squared() - ppp - q.doubled();
        y = dy * (q - x) - t;
    }
};

// The additions as kernels call them. In G1 they are part of the kernel and the sum stays in registers. In G2 a sum alone has 64 words and
// an addition 28 products, so there they are functions, the sum lies in memory beside the first-level cache, and the code of a kernel
// stays small enough for the instruction cache.
template <class F>
struct Calls {
    static PM_HD void add(Xyzz<F>& sum, const Affine<F>& p, bool negative) { sum.add(p, negative); }
    static PM_HD void add(Xyzz<F>& sum, const Xyzz<F>& p) { sum.add(p); }
    static PM_HD void double_it(Xyzz<F>& sum) { sum = sum.doubled(); }
};
template <>
struct Calls<Fq2> {
    static PM_HD_CALL void add(Xyzz<Fq2>& sum, const Affine<Fq2>& p, bool negative) { sum.add(p, negative); }
    static PM_HD_CALL void add(Xyzz<Fq2>& sum, const Xyzz<Fq2>& p) { sum.add(p); }
    static PM_HD_CALL void double_it(Xyzz<Fq2>& sum) { sum = sum.doubled(); }
};

using G1Affine = Affine<Fq>;
using G2Affine = Affine<Fq2>;
using G1 = Xyzz<Fq>;
using G2 = Xyzz<Fq2>;

static_assert(sizeof(G1Affine) == 64 && sizeof(G2Affine) == 128, "points have no padding");

} // namespace pm
