// Loading a key and proving with it; see groth16.cuh.
#include "groth16.cuh"

#include <string>

namespace pm {

namespace {

// Room for this many witnesses is counted in: one that is being proved and the next.
constexpr uint64_t kWitnesses = 2;
// For the driver, the allocator and the sorts' own memory.
constexpr uint64_t kReserve = 64 << 20;

template <class T>
Buffer<T> upload(Stream& stream, const void* values, size_t count) {
    Buffer<T> buffer(count);
    stream.to_device(buffer.data(), values, count * sizeof(T));
    stream.synchronize();
    return buffer;
}

template <class F>
uint64_t table_bytes(const MsmShape& shape) {
    return shape.table_points() * sizeof(Affine<F>);
}

// Multiplications of a sum; those of Fq2 as those of Fq.
uint64_t multiplications(const MsmShape& shape, const Digits& digits, bool g2) {
    uint64_t per_digit = g2 ? 28 : 10, per_bucket = g2 ? 80 : 28;
    return per_digit * digits.count + per_bucket * uint64_t(shape.modules) * shape.buckets();
}

void check_cancel(const volatile uint8_t* cancel) {
    if (cancel && *cancel) fail(Code::cancelled, "the proof was cancelled");
}

} // namespace

template <class F>
Query<F>::Query(Stream& stream, Arena& scratch, const MsmShape& shape, const void* points)
    : shape(shape), table(shape.table_points()) {
    stream.to_device(table.data(), points, size_t(shape.points) * sizeof(Affine<F>));
    size_t mark = scratch.mark();
    if (shape.copies > 1) {
        size_t slice = std::min<size_t>(shape.points, (scratch.capacity() - mark) / sizeof(Xyzz<F>) - 1);
        fill_copies(stream, shape, table.data(), scratch.take<Xyzz<F>>(slice), uint32_t(slice));
    }
    stream.synchronize();
    scratch.release(mark);
}
template struct Query<Fq>;
template struct Query<Fq2>;

Key::Plan Key::plan(const KeyParts& parts, int max_copies) {
    Plan p;
    p.a = MsmShape::choose(parts.a_len, max_copies);
    p.b = MsmShape::choose(parts.b_len, max_copies);
    p.l = MsmShape::choose(parts.variables - parts.inputs, max_copies);
    p.h = MsmShape::choose(1u << parts.domain_log, max_copies);
    auto counts = [](const MsmShape& shape) { return 2 * Arena::padded(4 * (uint64_t(shape.points) + 1)); };
    p.workspace[0] = digits_bytes(p.h) + sum_workspace_bytes<Fq>(p.h);
    // The digits of all three are counted first, then the sums follow each other in the same place.
    p.workspace[1] = counts(p.a) + counts(p.b) + counts(p.l) +
                     std::max({digits_bytes(p.a) + sum_workspace_bytes<Fq>(p.a),
                               digits_bytes(p.b) + std::max(sum_workspace_bytes<Fq>(p.b), sum_workspace_bytes<Fq2>(p.b)),
                               digits_bytes(p.l) + sum_workspace_bytes<Fq>(p.l)});
    p.bytes = p.workspace[0] + p.workspace[1] + table_bytes<Fq>(p.a) + table_bytes<Fq>(p.b) + table_bytes<Fq>(p.l) + table_bytes<Fq>(p.h) +
              table_bytes<Fq2>(p.b) + SparseMatrix::bytes(parts.matrix_a) + SparseMatrix::bytes(parts.matrix_b) +
              4 * (uint64_t(parts.a_len) + parts.b_len) + sizeof(Fr) * uint64_t(parts.table_len) + Domain::bytes(parts.domain_log) +
              (3 * sizeof(Fr) << parts.domain_log) + kWitnesses * sizeof(Fr) * parts.variables + kReserve;
    return p;
}

Key::Plan Key::choose(const KeyParts& parts, uint64_t free_memory) {
    uint64_t budget = parts.memory_limit ? parts.memory_limit : free_memory / 10 * 9;
    int wanted = parts.max_copies > 0 ? parts.max_copies : windows_for(kMinWindowBits);
    Plan p = plan(parts, 1);
    if (p.bytes > budget)
        fail(Code::out_of_memory, "the key takes " + std::to_string(p.bytes >> 20) + " MiB on the card and may take " +
                                      std::to_string(budget >> 20) + " MiB");
    // Memory grows with the copies and the work shrinks; beyond some thirty neither changes.
    for (int copies = std::min(wanted, 32); copies > 1; copies--) {
        Plan more = plan(parts, copies);
        if (more.bytes <= budget) return more;
    }
    return p;
}

Key::Key(const KeyParts& parts, uint64_t free_memory) : Key(parts, choose(parts, free_memory)) {}

Key::Key(const KeyParts& parts, const Plan& plan)
    : inputs_(parts.inputs), variables_(parts.variables), constraints_(parts.constraints), bytes_(plan.bytes),
      arenas_{Arena(plan.workspace[0]), Arena(plan.workspace[1])},
      domain_(streams_[0], parts.domain_log, parts.coset_shift, parts.size_inverse),
      table_(upload<Fr>(streams_[0], parts.table, parts.table_len)), matrix_a_(streams_[0], parts.matrix_a),
      matrix_b_(streams_[0], parts.matrix_b), a_columns_(upload<uint32_t>(streams_[0], parts.a_columns, parts.a_len)),
      b_columns_(upload<uint32_t>(streams_[0], parts.b_columns, parts.b_len)), a_(streams_[0], arenas_[1], plan.a, parts.a),
      b1_(streams_[0], arenas_[1], plan.b, parts.b1), l_(streams_[0], arenas_[1], plan.l, parts.l),
      h_(streams_[0], arenas_[1], plan.h, parts.h), b2_(streams_[0], arenas_[1], plan.b, parts.b2),
      values_(size_t(3) << parts.domain_log), totals_(4),
      pinned_g1_(pending_len(plan.a) + pending_len(plan.b) + pending_len(plan.l) + pending_len(plan.h)), pinned_g2_(pending_len(plan.b)) {}

Sums Key::prove(const Fr* witness, const volatile uint8_t* cancel, StageTimes& times, StageCounts& counts) {
    try {
        Sums sums = prove_on_streams(witness, cancel, times, counts);
        for (auto& arena : arenas_) arena.release(0);
        return sums;
    } catch (const Error& error) {
        // What was launched still uses the memory that the next proof takes.
        for (auto& arena : arenas_) arena.release(0);
        if (error.code != Code::lost)
            for (auto& stream : streams_) stream.synchronize();
        throw;
    }
}

Sums Key::prove_on_streams(const Fr* witness, const volatile uint8_t* cancel, StageTimes& times, StageCounts& counts) {
    Stream &main = streams_[0], &side = streams_[1];
    Arena &main_arena = arenas_[0], &side_arena = arenas_[1];
    auto& [start, sparse_done, ntt_done, h_done, side_start, a_done, b1_done, b2_done, l_done] = events_;
    size_t size = size_t(1) << domain_.log_size();
    Fr *a = values_.data(), *b = a + size, *c = b + size;

    check_cancel(cancel);
    side_start.record(side);
    DigitSorter a_digits(side, side_arena, a_.shape, {witness, a_columns_.data()}, totals_.data());
    DigitSorter b_digits(side, side_arena, b1_.shape, {witness, b_columns_.data()}, totals_.data() + 1);
    DigitSorter l_digits(side, side_arena, l_.shape, {witness + inputs_, nullptr}, totals_.data() + 2);

    start.record(main);
    main.clear(a, 3 * size * sizeof(Fr));
    matrix_a_.multiply(main, table_.data(), witness, a);
    matrix_b_.multiply(main, table_.data(), witness, b);
    // The implied rows input_i * 0 = 0.
    main.on_device(a + constraints_, witness, inputs_ * sizeof(Fr));
    multiply(main, a, b, c, constraints_);
    sparse_done.record(main);
    quotient(main, domain_, a);
    ntt_done.record(main);
    DigitSorter h_digits(main, main_arena, h_.shape, {a, nullptr}, totals_.data() + 3);

    check_cancel(cancel);
    G1* place = pinned_g1_.data();
    auto next_place = [&place](const MsmShape& shape) { return std::exchange(place, place + pending_len(shape)); };
    size_t mark = side_arena.mark();
    Digits a_sorted = a_digits.finish();
    auto pending_a = sum_buckets(side, side_arena, a_.shape, a_.table.data(), a_sorted, next_place(a_.shape));
    side_arena.release(mark);
    a_done.record(side);
    check_cancel(cancel);
    Digits b_sorted = b_digits.finish();
    auto pending_b1 = sum_buckets(side, side_arena, b1_.shape, b1_.table.data(), b_sorted, next_place(b1_.shape));
    b1_done.record(side);
    auto pending_b2 = sum_buckets(side, side_arena, b2_.shape, b2_.table.data(), b_sorted, pinned_g2_.data());
    side_arena.release(mark);
    b2_done.record(side);
    check_cancel(cancel);
    Digits l_sorted = l_digits.finish();
    auto pending_l = sum_buckets(side, side_arena, l_.shape, l_.table.data(), l_sorted, next_place(l_.shape));
    l_done.record(side);
    check_cancel(cancel);
    Digits h_sorted = h_digits.finish();
    auto pending_h = sum_buckets(main, main_arena, h_.shape, h_.table.data(), h_sorted, next_place(h_.shape));
    h_done.record(main);

    side.synchronize();
    Sums sums;
    sums.a = pending_a.finish();
    sums.b1 = pending_b1.finish();
    sums.b2 = pending_b2.finish();
    sums.l = pending_l.finish();
    main.synchronize();
    sums.h = pending_h.finish();
    times.sparse = sparse_done.since(start);
    times.ntt = ntt_done.since(sparse_done);
    times.msm_h = h_done.since(ntt_done);
    times.msm_a = a_done.since(side_start);
    times.msm_b1 = b1_done.since(a_done);
    times.msm_b2 = b2_done.since(b1_done);
    times.msm_l = l_done.since(b2_done);
    times.total = std::max(h_done.since(start), l_done.since(side_start));
    counts.sparse = matrix_a_.multiplications() + matrix_b_.multiplications() + constraints_;
    counts.ntt = (6 * uint64_t(domain_.log_size()) / 2 + 3 * 2 + 1) * size;
    counts.msm_a = multiplications(a_.shape, a_sorted, false);
    counts.msm_b1 = multiplications(b1_.shape, b_sorted, false);
    counts.msm_b2 = multiplications(b2_.shape, b_sorted, true);
    counts.msm_l = multiplications(l_.shape, l_sorted, false);
    counts.msm_h = multiplications(h_.shape, h_sorted, false);
    return sums;
}

} // namespace pm
