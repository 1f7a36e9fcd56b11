// The kernels of msm.cuh and the order in which they are launched, for one field of coordinates. Included once per field.
#pragma once

#include "msm.cuh"

namespace pm {

constexpr uint32_t kNegativeDigit = 1u << 31;

// Threads of a block and blocks that a multiprocessor should hold at least, which bounds the registers of a thread: 65536 / (128 * n).
template <class F>
struct Occupancy;
template <>
struct Occupancy<Fq> {
    static constexpr uint32_t kAccumulate = 4, kMerge = 3, kReduce = 2;
};
template <>
struct Occupancy<Fq2> {
    static constexpr uint32_t kAccumulate = 2, kMerge = 2, kReduce = 2;
};

// Parts of runs that cross the border of a chunk: two places per chunk, the head and the tail, with infinity where there is none.
template <class F>
struct Parts {
    uint32_t* buckets;
    Xyzz<F>* sums;
};

// Walks chunk `k` of sorted buckets. `add(i, sum)` adds element i.
template <class F, class Add>
PM_HD void walk_runs(const uint32_t* buckets, uint32_t total, uint32_t chunk, uint32_t k, Xyzz<F>* out, const Parts<F>& parts,
                     const Add& add) {
    uint32_t begin = k * chunk, end = total - begin < chunk ? total : begin + chunk;
    uint32_t bucket = buckets[begin];
    bool from_before = begin > 0 && buckets[begin - 1] == bucket;
    Xyzz<F> sum = Xyzz<F>::infinity();
    if (parts.buckets) {
        parts.buckets[2 * k] = bucket;
        parts.buckets[2 * k + 1] = buckets[end - 1];
        if (!from_before) parts.sums[2 * k] = sum;
    }
    for (uint32_t i = begin; i < end; i++) {
        uint32_t next = buckets[i];
        if (next != bucket) {
            if (from_before) {
                parts.sums[2 * k] = sum;
                from_before = false;
            } else if (!sum.is_infinity()) {
                out[bucket] = sum;
            }
            bucket = next;
            sum = Xyzz<F>::infinity();
        }
        add(i, sum);
    }
    bool goes_on = end < total && buckets[end] == bucket;
    if (from_before) {
        parts.sums[2 * k] = sum;
    } else if (!goes_on && !sum.is_infinity()) {
        out[bucket] = sum;
    }
    if (parts.buckets) parts.sums[2 * k + 1] = goes_on && !from_before ? sum : Xyzz<F>::infinity();
}

template <class F>
struct AccumulateRuns {
    static constexpr const char* kName = "accumulate";
    static constexpr uint32_t kThreads = 128, kMinBlocks = Occupancy<F>::kAccumulate;
    Digits digits;
    uint32_t chunk;
    const Affine<F>* table;
    Xyzz<F>* out;
    Parts<F> parts;

    PM_HD void operator()(uint32_t k) const {
        walk_runs<F>(digits.buckets, digits.count, chunk, k, out, parts, [this](uint32_t i, Xyzz<F>& sum) {
            uint32_t point = digits.points[i];
            Calls<F>::add(sum, table[point & ~kNegativeDigit], (point & kNegativeDigit) != 0);
        });
    }
};

template <class F>
struct MergeRuns {
    static constexpr const char* kName = "merge";
    static constexpr uint32_t kThreads = 128, kMinBlocks = Occupancy<F>::kMerge;
    Parts<F> in;
    uint32_t count, chunk;
    Xyzz<F>* out;
    Parts<F> parts;

    PM_HD void operator()(uint32_t k) const {
        walk_runs<F>(in.buckets, count, chunk, k, out, parts, [this](uint32_t i, Xyzz<F>& sum) { Calls<F>::add(sum, in.sums[i]); });
    }
};

// Blocks of 2^log_block buckets with sum X_t and weighted sum W_t (weights from 0 inside the block), `group` of them at a time:
// X = sum X_t, W = sum W_t + 2^log_block sum t X_t.
template <class F>
PM_HD void reduce_group(const Xyzz<F>* sums, const Xyzz<F>* weighted, uint32_t group, int log_block, Xyzz<F>& sum_out, Xyzz<F>& weighted_out) {
    Xyzz<F> sum = Xyzz<F>::infinity(), steps = Xyzz<F>::infinity();
    for (uint32_t i = group; i-- > 0;) {
        Calls<F>::add(sum, sums[i]);
        if (i > 0) Calls<F>::add(steps, sum);
    }
    sum_out = sum;
    for (int i = 0; i < log_block; i++) Calls<F>::double_it(steps);
    if (weighted)
        for (uint32_t i = 0; i < group; i++) Calls<F>::add(steps, weighted[i]);
    weighted_out = steps;
}

template <class F>
struct ReduceBuckets {
    static constexpr const char* kName = "reduce";
    static constexpr uint32_t kThreads = 64, kMinBlocks = 2 * Occupancy<F>::kReduce;
    const Xyzz<F>* sums;
    const Xyzz<F>* weighted;
    uint32_t group;
    int log_block;
    Xyzz<F>* sums_out;
    Xyzz<F>* weighted_out;

    PM_HD void operator()(uint32_t k) const {
        const Xyzz<F>* w = weighted ? weighted + uint64_t(k) * group : nullptr;
        reduce_group(sums + uint64_t(k) * group, w, group, log_block, sums_out[k], weighted_out[k]);
    }
};

template <class F>
struct ShiftPoints {
    static constexpr const char* kName = "shift";
    static constexpr uint32_t kThreads = 128, kMinBlocks = Occupancy<F>::kMerge;
    const Affine<F>* in;
    Xyzz<F>* out;
    int doublings;

    PM_HD void operator()(uint32_t i) const {
        Xyzz<F> p = Xyzz<F>::from(in[i]);
        for (int d = 0; d < doublings; d++) Calls<F>::double_it(p);
        out[i] = p;
    }
};

// XYZZ to affine, `count / stride` points a thread with one inversion (Montgomery's trick); the products so far wait in the output.
template <class F>
struct NormalizePoints {
    static constexpr const char* kName = "normalize";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 2;
    const Xyzz<F>* in;
    Affine<F>* out;
    uint32_t count, stride;

    PM_HD void operator()(uint32_t k) const {
        F product = F::one();
        uint32_t last = k;
        for (uint32_t i = k; i < count; i += stride) {
            out[i].x = product;
            if (!in[i].is_infinity()) product = product * in[i].zzz;
            last = i;
        }
        F inverse = product.inverse();
        for (uint32_t i = last;; i -= stride) {
            if (in[i].is_infinity()) {
                out[i] = {F::zero(), F::zero()};
            } else {
                F inverse_zzz = inverse * out[i].x;
                inverse = inverse * in[i].zzz;
                out[i] = in[i].scaled_by(inverse_zzz);
            }
            if (i == k) break;
        }
    }
};

// Pairs of a chunk: enough threads for some waves on a large card, but chunks not so short that the parts outweigh the runs.
constexpr uint32_t kMaxChunk = 128, kMinChunk = 4, kWantedThreads = 1u << 18;
constexpr uint32_t kMergeChunk = 16;
constexpr uint32_t kFirstGroup = 8, kNextGroup = 4;
// Points that share an inversion.
constexpr uint32_t kNormalizeGroup = 32;

inline uint32_t chunk_for(uint32_t pairs) { return std::clamp(pairs / kWantedThreads, kMinChunk, kMaxChunk); }
// The most chunks that any number of pairs up to this one has: rounding the chunk down makes a quarter more threads than wanted at most.
inline uint64_t max_chunks(uint64_t pairs) {
    return std::max<uint64_t>(pairs / kMaxChunk, std::min<uint64_t>(pairs / kMinChunk, kWantedThreads / 4 * 5)) + 1;
}

template <class F>
uint64_t sum_workspace_bytes(const MsmShape& shape) {
    uint64_t buckets = uint64_t(shape.modules) * shape.buckets();
    uint64_t chunks = max_chunks(shape.max_pairs());
    uint64_t merged = chunks / kMergeChunk * 2 + 2;
    uint64_t reduced = 2 * (buckets / 2 + 1) + 2 * (buckets / 4 + 1);
    auto parts = [](uint64_t count) { return Arena::padded(2 * count * sizeof(Xyzz<F>)) + Arena::padded(2 * count * 4); };
    return Arena::padded(buckets * sizeof(Xyzz<F>)) + parts(chunks) + parts(merged) + reduced * sizeof(Xyzz<F>) + 4 * 256;
}

template <class F>
PendingSum<F> reduce_buckets(Stream& stream, Arena& arena, const MsmShape& shape, const Xyzz<F>* buckets, Xyzz<F>* pinned) {
    uint32_t groups = shape.buckets();
    const Xyzz<F>*sums = buckets, *weighted = nullptr;
    Xyzz<F>*sums_pair[2] = {nullptr, nullptr}, *weighted_pair[2] = {nullptr, nullptr};
    int log_block = 0;
    for (int level = 0; groups > kHostGroups || level == 0; level++) {
        uint32_t group = std::min(level == 0 ? kFirstGroup : kNextGroup, groups);
        groups /= group;
        uint32_t count = groups * uint32_t(shape.modules);
        int side = level & 1;
        // Each level is smaller than the one before the last, whose place it takes.
        if (level < 2) {
            sums_pair[side] = arena.take<Xyzz<F>>(count);
            weighted_pair[side] = arena.take<Xyzz<F>>(count);
        }
        launch_items(stream, count, ReduceBuckets<F>{sums, weighted, group, log_block, sums_pair[side], weighted_pair[side]});
        sums = sums_pair[side];
        weighted = weighted_pair[side];
        for (uint32_t g = group; g > 1; g /= 2) log_block++;
    }
    size_t count = size_t(groups) * shape.modules;
    stream.to_host(pinned, sums, count * sizeof(Xyzz<F>));
    stream.to_host(pinned + count, weighted, count * sizeof(Xyzz<F>));
    return {shape, groups, log_block, pinned, pinned + count};
}

template <class F>
PendingSum<F> sum_buckets(Stream& stream, Arena& arena, const MsmShape& shape, const Affine<F>* table, const Digits& digits,
                          Xyzz<F>* pinned) {
    if (digits.count == 0) return {shape, 0, 0, nullptr, nullptr};
    size_t mark = arena.mark();
    uint64_t bucket_count = uint64_t(shape.modules) * shape.buckets();
    auto* buckets = arena.take<Xyzz<F>>(bucket_count);
    stream.clear(buckets, bucket_count * sizeof(Xyzz<F>));

    uint32_t chunk = chunk_for(digits.count);
    uint32_t chunks = blocks_for(digits.count, chunk);
    Parts<F> sides[2] = {{nullptr, nullptr}, {nullptr, nullptr}};
    auto take_parts = [&](uint32_t count) { return Parts<F>{arena.take<uint32_t>(2 * size_t(count)), arena.take<Xyzz<F>>(2 * size_t(count))}; };
    if (chunks > 1) sides[0] = take_parts(chunks);
    launch_items(stream, chunks, AccumulateRuns<F>{digits, chunk, table, buckets, sides[0]});
    for (int level = 0; chunks > 1; level++) {
        uint32_t count = 2 * chunks;
        chunks = blocks_for(count, kMergeChunk);
        int from = level & 1, to = from ^ 1;
        if (level == 0 && chunks > 1) sides[1] = take_parts(chunks);
        launch_items(stream, chunks, MergeRuns<F>{sides[from], count, kMergeChunk, buckets, chunks > 1 ? sides[to] : Parts<F>{nullptr, nullptr}});
    }
    PendingSum<F> pending = reduce_buckets(stream, arena, shape, buckets, pinned);
    // Later work of this stream may take the place: it runs after this.
    arena.release(mark);
    return pending;
}

template <class F>
Xyzz<F> PendingSum<F>::finish() const {
    Xyzz<F> total = Xyzz<F>::infinity();
    if (groups == 0) return total;
    for (int k = shape.modules; k-- > 0;) {
        for (int i = 0; i < shape.window_bits; i++) total = total.doubled();
        Xyzz<F> sum, from_zero;
        reduce_group(sums + size_t(k) * groups, weighted + size_t(k) * groups, groups, log_block, sum, from_zero);
        // Bucket b stands for digit b + 1.
        total.add(from_zero);
        total.add(sum);
    }
    return total;
}

template <class F>
void fill_copies(Stream& stream, const MsmShape& shape, Affine<F>* table, Xyzz<F>* scratch, uint32_t slice) {
    for (int copy = 1; copy < shape.copies; copy++) {
        for (uint32_t begin = 0; begin < shape.points; begin += slice) {
            uint32_t count = std::min(slice, shape.points - begin);
            const Affine<F>* from = table + uint64_t(copy - 1) * shape.points + begin;
            launch_items(stream, count, ShiftPoints<F>{from, scratch, shape.window_bits * shape.modules});
            uint32_t threads = blocks_for(count, kNormalizeGroup);
            launch_items(stream, threads, NormalizePoints<F>{scratch, table + uint64_t(copy) * shape.points + begin, count, threads});
        }
    }
}

#define PM_INSTANTIATE_MSM(F)                                                                                                      \
    template uint64_t sum_workspace_bytes<F>(const MsmShape&);                                                                     \
    template PendingSum<F> sum_buckets(Stream&, Arena&, const MsmShape&, const Affine<F>*, const Digits&, Xyzz<F>*);                \
    template Xyzz<F> PendingSum<F>::finish() const;                                                                                \
    template void fill_copies(Stream&, const MsmShape&, Affine<F>*, Xyzz<F>*, uint32_t);

} // namespace pm
