// The five unblinded sums of a Groth16 proof, with everything that stays the same between proofs resident on the card.
//
// Stream 0: A*w and B*w, C*w as their product (true for a witness that satisfies the circuit), three transforms to the odd coset, the sum
// over H. Stream 1: the sums over A, B1, B2 (which share their digits) and L, which need the witness only. Each stream has a workspace of its own, so
// that one computes while the other ends an MSM with few threads. Witnesses come on a third stream.
//
// Invariant: all memory is taken when the key is loaded; a proof allocates nothing on the card.
#pragma once

#include <array>

#include "memory.cuh"
#include "msm.cuh"
#include "ntt.cuh"
#include "sparse.cuh"

namespace pm {

struct KeyParts {
    uint32_t inputs, variables, constraints;
    int domain_log;
    Fr coset_shift, size_inverse;
    uint32_t a_len, b_len;
    const uint32_t *a_columns, *b_columns;
    const void *a, *b1, *b2, *l, *h;
    CompressedRows matrix_a, matrix_b;
    const void* table;
    uint32_t table_len;
    int max_copies;
    uint64_t memory_limit;
};

struct Sums {
    G1 a, b1, l, h;
    G2 b2;
};

struct StageTimes {
    float sparse, ntt, msm_a, msm_b1, msm_b2, msm_l, msm_h, total;
};

// Field multiplications that the method needs; see pm_counts.
struct StageCounts {
    uint64_t sparse, ntt, msm_a, msm_b1, msm_b2, msm_l, msm_h;
};

// Points of one query with their multiples.
template <class F>
struct Query {
    MsmShape shape;
    Buffer<Affine<F>> table;

    Query() = default;
    Query(Stream& stream, Arena& scratch, const MsmShape& shape, const void* points);
};

class Key {
  public:
    Key(const KeyParts& parts, uint64_t free_memory);

    uint32_t variables() const { return variables_; }
    uint64_t bytes() const { return bytes_; }
    const MsmShape& h_shape() const { return h_.shape; }

    // `witness` is on the card and stays there. Throws Error with Code::cancelled when `cancel` becomes non-zero.
    Sums prove(const Fr* witness, const volatile uint8_t* cancel, StageTimes& times, StageCounts& counts);

  private:
    struct Plan {
        MsmShape a, b, l, h;
        uint64_t workspace[2];
        uint64_t bytes;
    };
    static Plan plan(const KeyParts& parts, int max_copies);
    static Plan choose(const KeyParts& parts, uint64_t free_memory);
    Key(const KeyParts& parts, const Plan& plan);

    Sums prove_on_streams(const Fr* witness, const volatile uint8_t* cancel, StageTimes& times, StageCounts& counts);

    uint32_t inputs_, variables_, constraints_;
    uint64_t bytes_;
    std::array<Stream, 2> streams_;
    std::array<Arena, 2> arenas_;
    Domain domain_;
    Buffer<Fr> table_;
    SparseMatrix matrix_a_, matrix_b_;
    Buffer<uint32_t> a_columns_, b_columns_;
    Query<Fq> a_, b1_, l_, h_;
    Query<Fq2> b2_;
    // Values of A*w, B*w and their product, then of their transforms.
    Buffer<Fr> values_;
    PinnedBuffer<uint32_t> totals_;
    PinnedBuffer<G1> pinned_g1_;
    PinnedBuffer<G2> pinned_g2_;
    std::array<Event, 9> events_;
};

} // namespace pm
