// The kernels of ntt.cuh.
#include "ntt.cuh"

namespace pm {

namespace {

constexpr uint32_t kColumns = 4;
constexpr uint32_t kTile = kColumns << kMaxLayers;

// One pass over index bits first_bit .. first_bit + layers of each polynomial.
struct Pass {
    static constexpr const char* kName = "transform";
    static constexpr uint32_t kThreads = kTile / 2, kMinBlocks = 2;
    // Words of the elements in planes: neighbouring threads meet neighbouring banks.
    struct Shared {
        uint32_t plane[8][kTile];
    };

    Fr* values;
    const Fr* twiddles;
    int log_size, first_bit, layers;
    // Groups of 2^layers elements in all polynomials.
    uint32_t groups;
    bool gather, inverse, scaled;
    SplitPowers scale;
    const Fr* factor;
    const Fr* subtrahend;

    PM_HD uint32_t phases() const { return uint32_t(layers) + 2; }

    PM_HD void run(uint32_t phase, Index at, Shared& shared) const {
        if (phase == 0) {
            for (uint32_t e = at.thread; e < tile(); e += kThreads) fetch(e, at.block, shared);
        } else if (phase <= uint32_t(layers)) {
            for (uint32_t e = at.thread; e < tile() / 2; e += kThreads) butterfly(phase - 1, e, at.block, shared);
        } else {
            for (uint32_t e = at.thread; e < tile(); e += kThreads) store(e, at.block, shared);
        }
    }

  private:
    struct Place {
        uint32_t row, column, group;
    };

    PM_HD uint32_t tile() const { return kColumns << layers; }

    // Element e of a tile in the order of memory.
    PM_HD Place place(uint32_t e, uint32_t block) const {
        uint32_t row, column;
        if (first_bit == 0) {
            row = e & ((1u << layers) - 1);
            column = e >> layers;
        } else {
            row = e / kColumns;
            column = e % kColumns;
        }
        return {row, column, block * kColumns + column};
    }
    PM_HD uint32_t slot(uint32_t row, uint32_t column) const {
        return first_bit == 0 ? (column << layers) | row : row * kColumns + column;
    }
    // Index in memory: the bits of the group around those of the row.
    PM_HD uint64_t index(uint32_t row, uint32_t group) const {
        uint32_t low = group & ((1u << first_bit) - 1);
        return (uint64_t(group >> first_bit) << (first_bit + layers)) | (row << first_bit) | low;
    }

    PM_HD void fetch(uint32_t e, uint32_t block, Shared& shared) const {
        Place p = place(e, block);
        if (p.group >= groups) return;
        put(shared, slot(p.row, p.column), values[index(p.row, p.group)]);
    }

    PM_HD void store(uint32_t e, uint32_t block, Shared& shared) const {
        Place p = place(e, block);
        if (p.group >= groups) return;
        uint64_t i = index(p.row, p.group);
        uint32_t in_polynomial = uint32_t(i & ((uint64_t(1) << log_size) - 1));
        Fr value = get(shared, slot(p.row, p.column));
        if (scaled) value = value * scale[in_polynomial];
        if (factor) value = value * factor[in_polynomial] - subtrahend[in_polynomial];
        values[i] = value;
    }

    PM_HD void butterfly(uint32_t step, uint32_t e, uint32_t block, Shared& shared) const {
        // The bit of the row that the two elements differ in.
        uint32_t bit = gather ? step : uint32_t(layers) - 1 - step;
        uint32_t pair, column;
        if (first_bit == 0) {
            pair = e & ((1u << (layers - 1)) - 1);
            column = e >> (layers - 1);
        } else {
            pair = e / kColumns;
            column = e % kColumns;
        }
        uint32_t group = block * kColumns + column;
        if (group >= groups) return;
        uint32_t low_row = ((pair >> bit) << (bit + 1)) | (pair & ((1u << bit) - 1));
        uint32_t low_slot = slot(low_row, column), high_slot = slot(low_row | (1u << bit), column);
        // The number of this block in its layer: the bits of the index above the one they differ in.
        uint32_t high_bits = (group >> first_bit) & ((1u << (log_size - first_bit - layers)) - 1);
        uint32_t number = (high_bits << (layers - 1 - bit)) | (low_row >> (bit + 1));
        Fr low = get(shared, low_slot), high = get(shared, high_slot);
        // w^-e = -w^(n/2 - e), and in bit-reversed order n/2 - e mirrors e among those with the same top bit.
        bool negative = inverse && number != 0;
        Fr twiddle = twiddles[negative ? number ^ (top_bit(number) - 1) : number];
        Fr new_low, new_high;
        if (gather) {
            new_low = low + high;
            new_high = (negative ? high - low : low - high) * twiddle;
        } else {
            Fr product = high * twiddle;
            Fr sum = low + product, difference = low - product;
            new_low = negative ? difference : sum;
            new_high = negative ? sum : difference;
        }
        put(shared, low_slot, new_low);
        put(shared, high_slot, new_high);
    }

    static PM_HD uint32_t top_bit(uint32_t x) {
#if defined(__CUDA_ARCH__)
        return 0x80000000u >> __clz(int(x));
#else
        return 0x80000000u >> __builtin_clz(x);
#endif
    }
    static PM_HD Fr get(const Shared& shared, uint32_t slot) {
        Fr r;
        PM_UNROLL
        for (int i = 0; i < 8; i++) r.word[i] = shared.plane[i][slot];
        return r;
    }
    static PM_HD void put(Shared& shared, uint32_t slot, const Fr& value) {
        PM_UNROLL
        for (int i = 0; i < 8; i++) shared.plane[i][slot] = value.word[i];
    }
};

// Entries count .. 2 count of a table of powers in bit-reversed order: the first half times `factor`.
struct DoubleTable {
    static constexpr const char* kName = "powers";
    static constexpr uint32_t kThreads = 256, kMinBlocks = 4;
    Fr* table;
    uint32_t count;
    Fr factor;

    PM_HD void operator()(uint32_t i) const { table[count + i] = table[i] * factor; }
};

struct Multiply {
    static constexpr const char* kName = "multiply";
    static constexpr uint32_t kThreads = 256, kMinBlocks = 4;
    const Fr* a;
    const Fr* b;
    Fr* out;

    PM_HD void operator()(uint32_t i) const { out[i] = a[i] * b[i]; }
};

Fr power_of_two_power(Fr base, int log) {
    for (int i = 0; i < log; i++) base = base.squared();
    return base;
}

// first * base^bitrev(i) for i < 2^log.
void fill_powers(Stream& stream, Fr* table, int log, const Fr& base, const Fr& first) {
    stream.to_device(table, &first, sizeof first);
    stream.synchronize();
    for (int bit = 0; bit < log; bit++)
        launch_items(stream, 1u << bit, DoubleTable{table, 1u << bit, power_of_two_power(base, log - 1 - bit)});
}

uint64_t twiddle_count(int log_size) { return log_size == 0 ? 1 : uint64_t(1) << (log_size - 1); }

} // namespace

Domain::Domain(Stream& stream, int log_size, const Fr& coset_shift, const Fr& size_inverse)
    : log_size_(log_size), tables_(bytes(log_size) / sizeof(Fr)) {
    Fr root = coset_shift.squared();
    fill_powers(stream, tables_.data(), log_size == 0 ? 0 : log_size - 1, root, Fr::one());
    // i = high * 2^low_bits + low reversed is bitrev(low) * 2^high_bits + bitrev(high).
    SplitPowers powers = shift();
    int high_bits = log_size - powers.low_bits;
    fill_powers(stream, const_cast<Fr*>(powers.low), powers.low_bits, power_of_two_power(coset_shift, high_bits), size_inverse);
    fill_powers(stream, const_cast<Fr*>(powers.high), high_bits, coset_shift, Fr::one());
    stream.synchronize();
}

uint64_t Domain::bytes(int log_size) {
    int low_bits = log_size / 2;
    return (twiddle_count(log_size) + (uint64_t(1) << low_bits) + (uint64_t(1) << (log_size - low_bits))) * sizeof(Fr);
}

SplitPowers Domain::shift() const {
    int low_bits = log_size_ / 2;
    const Fr* low = tables_.data() + twiddle_count(log_size_);
    return {low, low + (size_t(1) << low_bits), low_bits};
}

void transform(Stream& stream, const Domain& domain, Fr* values, uint32_t batch, const Transform& t) {
    int log = domain.log_size();
    // Passes of nearly equal depth; a domain of one element is transformed already.
    int passes = (log + kMaxLayers - 1) / kMaxLayers;
    bool gather = t.order == Order::gather;
    if (passes == 0) passes = t.scale_after || t.other_factor ? 1 : 0;
    for (int p = 0; p < passes; p++) {
        int from_low = gather ? p : passes - 1 - p;
        int first_bit = log * from_low / passes;
        int layers = log * (from_low + 1) / passes - first_bit;
        bool last = p == passes - 1;
        Pass pass{};
        pass.values = values;
        pass.twiddles = domain.twiddles();
        pass.log_size = log;
        pass.first_bit = first_bit;
        pass.layers = layers;
        pass.groups = uint32_t((uint64_t(batch) << log) >> layers);
        pass.gather = gather;
        pass.inverse = t.inverse;
        pass.scaled = last && t.scale_after;
        if (pass.scaled) pass.scale = *t.scale_after;
        pass.factor = last ? t.other_factor : nullptr;
        pass.subtrahend = last ? t.other_subtrahend : nullptr;
        launch_blocks(stream, blocks_for(pass.groups, kColumns), pass);
    }
}

void quotient(Stream& stream, const Domain& domain, Fr* values) {
    size_t size = size_t(1) << domain.log_size();
    Fr *b = values + size, *c = b + size;
    SplitPowers shift = domain.shift();
    transform(stream, domain, values, 3, {Order::scatter, true, &shift, nullptr, nullptr});
    transform(stream, domain, b, 2, {Order::gather, false, nullptr, nullptr, nullptr});
    transform(stream, domain, values, 1, {Order::gather, false, nullptr, b, c});
}

void multiply(Stream& stream, const Fr* a, const Fr* b, Fr* out, uint32_t count) { launch_items(stream, count, Multiply{a, b, out}); }

} // namespace pm
