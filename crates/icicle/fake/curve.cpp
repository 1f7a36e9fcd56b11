// The fake's libicicle_curve_bn254.so: sums in G1 and G2.

#include "field.hpp"
#include "monitor.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <vector>

namespace {

struct InG1 {
    using F = Fq;
    static F read(const uint64_t* limbs) { return Fq::from_canonical(limbs); }
    static void write(const F& value, uint64_t* limbs)
    {
        const Fq canonical = value.canonical();
        for (int i = 0; i < 4; i++) limbs[i] = canonical.limb[i];
    }
    static F three_b() { return Fq::small(9); }
};

struct InG2 {
    using F = Fq2;
    static F read(const uint64_t* limbs) { return {Fq::from_canonical(limbs), Fq::from_canonical(limbs + 4)}; }
    static void write(const F& value, uint64_t* limbs)
    {
        InG1::write(value.c0, limbs);
        InG1::write(value.c1, limbs + 4);
    }
    // 9 / (9 + u) = 9 * (9 - u) / 82
    static F three_b()
    {
        const Fq inverse = Fq::small(82).inverse();
        return {Fq::small(81) * inverse, Fq() - Fq::small(9) * inverse};
    }
};

template <class C>
struct Point {
    using F = typename C::F;
    F x = F::small(0), y = F::small(1), z = F::small(0);
};

// Complete addition on y^2 = x^3 + b (Renes, Costello, Batina 2015, algorithm 7): no special cases.
template <class C>
Point<C> operator+(const Point<C>& p, const Point<C>& q)
{
    static const auto three_b = C::three_b();
    const auto xx = p.x * q.x, yy = p.y * q.y, zz = p.z * q.z;
    const auto xy = (p.x + p.y) * (q.x + q.y) - xx - yy;
    const auto yz = (p.y + p.z) * (q.y + q.z) - yy - zz;
    const auto xz = three_b * ((p.x + p.z) * (q.x + q.z) - xx - zz);
    const auto three_xx = xx + xx + xx, bzz = three_b * zz;
    const auto sum = yy + bzz, difference = yy - bzz;
    return {xy * difference - yz * xz, difference * sum + three_xx * xz, sum * yz + three_xx * xy};
}

constexpr int WINDOW = 6;

// Sums made so far, in both groups.
std::atomic<long> sums{0};

template <class C>
Point<C> sum(const std::vector<Point<C>>& points, const std::vector<Fr>& scalars)
{
    Point<C> total;
    for (int window = 255 / WINDOW; window >= 0; window--) {
        for (int i = 0; i < WINDOW; i++) total = total + total;
        std::vector<Point<C>> buckets(1 << WINDOW);
        for (size_t i = 0; i < points.size(); i++) {
            const int bit = window * WINDOW;
            uint64_t digit = scalars[i].limb[bit / 64] >> (bit % 64);
            if (bit % 64 > 64 - WINDOW && bit / 64 < 3) digit |= scalars[i].limb[bit / 64 + 1] << (64 - bit % 64);
            digit &= (1 << WINDOW) - 1;
            if (digit) buckets[digit] = buckets[digit] + points[i];
        }
        Point<C> running;
        for (int digit = (1 << WINDOW) - 1; digit > 0; digit--) {
            running = running + buckets[digit];
            total = total + running;
        }
    }
    return total;
}

// Scalars that would crowd a bucket: the caller must not send them in numbers.
void watch_scalars(const std::vector<Fr>& scalars)
{
    std::map<std::array<uint64_t, 4>, size_t> times;
    size_t most = 0, small = 0;
    for (const Fr& scalar : scalars) {
        most = std::max(most, ++times[{scalar.limb[0], scalar.limb[1], scalar.limb[2], scalar.limb[3]}]);
        small += scalar.limb[1] == 0 && scalar.limb[2] == 0 && scalar.limb[3] == 0;
    }
    if (scalars.size() >= 64 && (most > scalars.size() / 8 || small > scalars.size() / 8))
        fake_violation("a sum with a crowded bucket");
}

// Windows whose topmost is so short that its few buckets hold many points.
void watch_window(int c)
{
    if (c <= 0) return fake_violation("a window of the library's choice");
    const int top = 254 % c ? 254 % c : c;
    const uint64_t top_buckets = Fr_modulus::limb[3] >> (62 - top);
    if (((uint64_t)1 << c) > 8 * top_buckets) fake_violation("a crowded topmost window");
}

template <class C>
int msm(const uint64_t* scalars, const uint64_t* bases, int n, const MsmConfig* config, uint64_t* results)
{
    Computing computing(config->stream, config->is_async);
    if (computing.code) return computing.code;
    const int words = sizeof(typename C::F) / 8;
    if (n < 0) return INVALID_ARGUMENT;
    if (!config->scalars_on_device || !fake_in_device_memory(scalars, 32ul * n)) {
        fake_violation("scalars that are not on the device");
        return INVALID_POINTER;
    }
    if (!config->points_on_device || !fake_in_device_memory(bases, 16ul * words * n)) {
        fake_violation("points that are not on the device");
        return INVALID_POINTER;
    }
    if (config->results_on_device) return INVALID_POINTER;
    // The flag is looked at and not obeyed, as in the processor device of the real one since 3.9.
    if (config->points_montgomery) fake_violation("points flagged as Montgomery");
    if (config->precompute_factor != 1 || config->batch_size != 1) fake_violation("a batch");
    if (fake_ext_int(config->ext, "large_bucket_factor", 10) != 0) fake_violation("the path for large buckets is on");
    if (fake_ext_int(config->ext, "nof_chunks", 0) != 1) fake_violation("the library may chunk by itself");
    watch_window(config->c);
    if (fake_asked("msm-code")) return (int)fake_asked("msm-code");

    std::vector<Fr> values(n);
    std::vector<Point<C>> points(n);
    for (int i = 0; i < n; i++) {
        Fr value;
        for (int j = 0; j < 4; j++) value.limb[j] = scalars[4 * i + j];
        values[i] = config->scalars_montgomery ? value.canonical() : value;
        const auto x = C::read(bases + 2 * words * i), y = C::read(bases + 2 * words * i + words);
        if (!(x.is_zero() && y.is_zero())) points[i] = {x, y, C::F::small(1)};
    }
    watch_scalars(values);
    Point<C> result = sum(points, values);
    const long wrong = fake_asked("wrong-msm");
    if (wrong && ++sums % wrong == 0 && n) result = result + points[0];
    if (fake_asked("off-the-curve")) result.x = result.x + C::F::small(1);
    C::write(result.x, results);
    C::write(result.y, results + words);
    C::write(result.z, results + 2 * words);
    return SUCCESS;
}

} // namespace

extern "C" {

int bn254_msm(const uint64_t* scalars, const uint64_t* bases, int n, const MsmConfig* config, uint64_t* results)
{
    return msm<InG1>(scalars, bases, n, config, results);
}

#ifndef FAKE_WITHOUT_G2
int bn254_g2_msm(const uint64_t* scalars, const uint64_t* bases, int n, const MsmConfig* config, uint64_t* results)
{
    return msm<InG2>(scalars, bases, n, config, results);
}
#endif
}
