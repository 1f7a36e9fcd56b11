// Multi-scalar multiplication, sum of s_i P_i, by buckets (Pippenger) with multiples of the points prepared with the key.
//
// With windows of c bits and m modules, copy j of the table holds 2^(c m j) P_i, so that digit w of s_i, with w = j m + k, puts point
// (j, i) into bucket |d| of module k: the more copies, the fewer modules to reduce. Steps, all on one stream:
// 1. count the non-zero digits of every scalar and add the counts up: scalars 0 vanish here, 1, -1 and small ones leave one digit;
// 2. write the pairs (bucket, point) and sort them by bucket;
// 3. cut the sorted pairs into chunks of equal length, one thread each, whatever the sizes of the buckets are: a run of equal
//    buckets inside a chunk goes straight to its bucket, a run that crosses a border leaves a part, and the parts, still sorted, are
//    merged in the same way until one chunk holds all of them. There are no atomics, so the same input gives the same sums;
// 4. reduce each module's buckets X_b to (sum X_b, sum b X_b) in groups, then groups of groups; the host does the last few.
//
// Invariant: a bucket is written by one thread of one launch only.
#pragma once

#include <algorithm>

#include "curve.cuh"
#include "digits.cuh"
#include "memory.cuh"
#include "runtime.cuh"

namespace pm {

struct MsmShape {
    uint32_t points = 0;
    int window_bits = 2, windows = 1, copies = 1, modules = 1;

    PM_HD uint32_t buckets() const { return 1u << (window_bits - 1); }
    uint64_t table_points() const { return uint64_t(copies) * points; }
    uint64_t max_pairs() const { return uint64_t(windows) * points; }
    int key_bits() const {
        int bits = 1;
        while ((uint64_t(modules) * buckets() - 1) >> bits) bits++;
        return bits;
    }

    // The shape with the fewest field multiplications: 10 for each pair, about 28 for each bucket. `max_copies` >= 1.
    static MsmShape choose(uint32_t points, int max_copies);
    static MsmShape of(uint32_t points, int window_bits, int max_copies);
};

struct Scalars {
    const Fr* values;
    // Scalar i is values[columns[i]]; without columns values[i].
    const uint32_t* columns;

    PM_HD const Fr& operator[](uint32_t i) const { return values[columns ? columns[i] : i]; }
};

// The non-zero digits of scalars, sorted by bucket.
struct Digits {
    const uint32_t* buckets;
    // copy * points + i, with the top bit for a negative digit.
    const uint32_t* points;
    uint32_t count;
};

// Device memory that the steps of one MSM take.
uint64_t digits_bytes(const MsmShape& shape);
template <class F>
uint64_t sum_workspace_bytes(const MsmShape& shape);

// Counts on the stream; `finish` waits for the total and nothing behind it, then sorts.
class DigitSorter {
  public:
    DigitSorter(Stream& stream, Arena& arena, const MsmShape& shape, Scalars scalars, uint32_t* pinned_total);
    Digits finish();

  private:
    Stream& stream_;
    Arena& arena_;
    MsmShape shape_;
    Scalars scalars_;
    uint32_t* offsets_;
    uint32_t* pinned_total_;
    Event counted_;
};

constexpr uint32_t kHostGroups = 16;

// What a module comes to before the host has finished it: partial sums X_t and partial weighted sums W_t; block t stands for `block`
// buckets.
template <class F>
struct PendingSum {
    MsmShape shape;
    uint32_t groups = 0;
    int log_block = 0;
    const Xyzz<F>* sums = nullptr;
    const Xyzz<F>* weighted = nullptr;

    // The stream must have been synchronised.
    Xyzz<F> finish() const;
};

// Elements of the page-locked memory that a PendingSum takes.
constexpr size_t pending_len(const MsmShape& shape) { return size_t(2) * kHostGroups * shape.modules; }

template <class F>
PendingSum<F> sum_buckets(Stream& stream, Arena& arena, const MsmShape& shape, const Affine<F>* table, const Digits& digits,
                          Xyzz<F>* pinned);

// Fills copies 1.. of a table whose copy 0 is there. Takes at most `slice` points at once through `scratch`.
template <class F>
void fill_copies(Stream& stream, const MsmShape& shape, Affine<F>* table, Xyzz<F>* scratch, uint32_t slice);

} // namespace pm
