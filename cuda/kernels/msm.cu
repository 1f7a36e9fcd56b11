// What all MSMs share: the choice of windows, and the digits of scalars sorted by bucket.
#include "msm.cuh"

#include <string>

namespace pm {

MsmShape MsmShape::of(uint32_t points, int window_bits, int max_copies) {
    MsmShape shape;
    shape.points = points;
    shape.window_bits = window_bits;
    shape.windows = windows_for(window_bits);
    int copies = std::clamp(max_copies, 1, shape.windows);
    shape.modules = (shape.windows + copies - 1) / copies;
    // The fewest copies that give this number of modules.
    shape.copies = (shape.windows + shape.modules - 1) / shape.modules;
    // A pair keeps its point in 31 bits and the number of pairs in 32.
    if (shape.table_points() >> 31 || shape.max_pairs() >> 31)
        fail(Code::bad_argument, "a multi-scalar multiplication of " + std::to_string(points) + " points is too large");
    return shape;
}

MsmShape MsmShape::choose(uint32_t points, int max_copies) {
    MsmShape best = of(points, kMinWindowBits, max_copies);
    auto cost = [](const MsmShape& s) { return 10.0 * double(s.max_pairs()) + 28.0 * s.modules * s.buckets(); };
    for (int bits = kMinWindowBits + 1; bits <= kMaxWindowBits; bits++) {
        MsmShape shape = of(points, bits, max_copies);
        if (cost(shape) < cost(best)) best = shape;
    }
    return best;
}

namespace {

struct CountDigits {
    static constexpr const char* kName = "count digits";
    static constexpr uint32_t kThreads = 256, kMinBlocks = 4;
    Scalars scalars;
    uint32_t points;
    int window_bits;
    uint32_t* counts;

    // One place more than there are scalars, so that the sums end with the total.
    PM_HD void operator()(uint32_t i) const {
        uint32_t count = 0;
        if (i < points) {
            Recoder digits(scalars[i], window_bits);
            while (!digits.done()) count += digits.next() != 0;
        }
        counts[i] = count;
    }
};

struct EmitDigits {
    static constexpr const char* kName = "emit digits";
    static constexpr uint32_t kThreads = 256, kMinBlocks = 4;
    Scalars scalars;
    MsmShape shape;
    const uint32_t* offsets;
    uint32_t* buckets;
    uint32_t* points;

    PM_HD void operator()(uint32_t i) const {
        uint32_t place = offsets[i];
        Recoder digits(scalars[i], shape.window_bits);
        uint32_t point = i, module = 0;
        while (!digits.done()) {
            int32_t digit = digits.next();
            if (digit != 0) {
                uint32_t size = digit < 0 ? uint32_t(-digit) : uint32_t(digit);
                buckets[place] = module * shape.buckets() + size - 1;
                points[place] = point | (digit < 0 ? 1u << 31 : 0);
                place++;
            }
            if (++module == uint32_t(shape.modules)) {
                module = 0;
                point += shape.points;
            }
        }
    }
};

} // namespace

uint64_t digits_bytes(const MsmShape& shape) {
    uint32_t places = shape.points + 1;
    uint32_t pairs = uint32_t(shape.max_pairs());
    size_t temporary = std::max(sum_bytes(places), sort_bytes(pairs, shape.key_bits()));
    return 2 * Arena::padded(size_t(places) * 4) + 4 * Arena::padded(size_t(pairs) * 4) + Arena::padded(temporary);
}

DigitSorter::DigitSorter(Stream& stream, Arena& arena, const MsmShape& shape, Scalars scalars, uint32_t* pinned_total)
    : stream_(stream), arena_(arena), shape_(shape), scalars_(scalars), pinned_total_(pinned_total) {
    uint32_t places = shape.points + 1;
    auto* counts = arena.take<uint32_t>(places);
    offsets_ = arena.take<uint32_t>(places);
    size_t mark = arena.mark();
    size_t temporary_bytes = sum_bytes(places);
    auto* temporary = arena.take<uint8_t>(temporary_bytes);
    launch_items(stream, places, CountDigits{scalars, shape.points, shape.window_bits, counts});
    exclusive_sum(stream, counts, offsets_, places, temporary, temporary_bytes);
    stream.to_host(pinned_total, offsets_ + shape.points, sizeof(uint32_t));
    counted_.record(stream);
    // Later work of the stream runs after this.
    arena.release(mark);
}

Digits DigitSorter::finish() {
    counted_.synchronize();
    uint32_t count = *pinned_total_;
    if (count == 0) return {nullptr, nullptr, 0};
    Pairs pairs;
    pairs.keys = arena_.take<uint32_t>(count);
    pairs.values = arena_.take<uint32_t>(count);
    pairs.other_keys = arena_.take<uint32_t>(count);
    pairs.other_values = arena_.take<uint32_t>(count);
    int bits = shape_.key_bits();
    size_t temporary_bytes = sort_bytes(count, bits);
    size_t mark = arena_.mark();
    auto* temporary = arena_.take<uint8_t>(temporary_bytes);
    launch_items(stream_, shape_.points, EmitDigits{scalars_, shape_, offsets_, pairs.keys, pairs.values});
    sort_pairs(stream_, pairs, count, bits, temporary, temporary_bytes);
    arena_.release(mark);
    return {pairs.keys, pairs.values, count};
}

} // namespace pm
