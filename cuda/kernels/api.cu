// The C interface: checks arguments, chooses the card for the calling thread, and turns every exception into a code and a sentence.
#include "../include/proofmill_cuda.h"

#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>

#include "groth16.cuh"
#include "probe.cuh"

#if defined(PM_HOST)
#include "fault.hpp"
#endif

using namespace pm;

struct pm_context {
    int ordinal;
    // One computation at a time.
    std::mutex computing;
    std::unique_ptr<Stream> stream;
};

struct pm_key {
    pm_context* context;
    std::unique_ptr<Key> key;
};

struct pm_witness {
    pm_key* key;
    std::unique_ptr<Stream> stream;
    Buffer<Fr> values;
};

struct pm_bases {
    pm_context* context;
    uint32_t group;
    Query<Fq> g1;
    Query<Fq2> g2;
    Buffer<Fr> scalars;
    Arena arena;
    PinnedBuffer<uint32_t> total;
    PinnedBuffer<G1> pinned_g1;
    PinnedBuffer<G2> pinned_g2;
};

namespace {

int32_t report(pm_error* error, Code code, const char* message) {
    if (error) {
        error->code = int32_t(code);
        std::strncpy(error->message, message, sizeof error->message - 1);
        error->message[sizeof error->message - 1] = 0;
    }
    return int32_t(code);
}

template <class Work>
int32_t guarded(pm_error* error, const Work& work) noexcept {
    try {
        work();
        return report(error, Code::ok, "");
    } catch (const Error& e) {
        return report(error, e.code, e.message.c_str());
    } catch (const std::bad_alloc&) {
        return report(error, Code::out_of_memory, "main memory is used up");
    } catch (const std::exception& e) {
        return report(error, Code::internal, e.what());
    } catch (...) {
        return report(error, Code::internal, "an exception of an unknown kind");
    }
}

// For functions that return nothing: what goes wrong while freeing on a lost card changes nothing.
template <class Work>
void quietly(const Work& work) noexcept {
    (void)guarded(nullptr, work);
}

void require(bool condition, const char* what) {
    if (!condition) fail(Code::bad_argument, what);
}

// The context's card for this thread, and the right to compute on it.
std::unique_lock<std::mutex> enter(pm_context* context) {
    require(context != nullptr, "the context is null");
    use_device(context->ordinal);
    return std::unique_lock<std::mutex>(context->computing);
}

template <class T>
T read(const uint8_t* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

CompressedRows check_matrix(const pm_matrix& m, uint32_t columns, uint32_t table_len) {
    require(m.rows == 0 || (m.row_ends && (m.row_ends[m.rows - 1] == 0 || (m.columns && m.coefficients))), "a matrix has null pointers");
    uint64_t end = 0;
    for (uint32_t row = 0; row < m.rows; row++) {
        require(m.row_ends[row] >= end, "the row ends of a matrix do not ascend");
        end = m.row_ends[row];
    }
    for (uint64_t i = 0; i < end; i++)
        require(m.columns[i] < columns && m.coefficients[i] < table_len, "a matrix has a column or a coefficient that does not exist");
    return {m.rows, m.row_ends, m.columns, m.coefficients};
}

void check_columns(const uint32_t* columns, uint32_t count, uint32_t variables) {
    require(count == 0 || columns != nullptr, "the columns of a query are null");
    for (uint32_t i = 0; i < count; i++) require(columns[i] < variables, "a query has a column that does not exist");
}

class Stopwatch {
  public:
    explicit Stopwatch(Stream& stream) : stream_(stream) { start_.record(stream); }
    void stop(float* milliseconds) {
        end_.record(stream_);
        stream_.synchronize();
        if (milliseconds) *milliseconds = end_.since(start_);
    }

  private:
    Stream& stream_;
    Event start_, end_;
};

template <class T>
Buffer<T> to_card(Stream& stream, const void* values, size_t count) {
    Buffer<T> buffer(count);
    stream.to_device(buffer.data(), values, count * sizeof(T));
    return buffer;
}

template <class T>
void from_card(Stream& stream, void* out, const Buffer<T>& buffer) {
    stream.to_host(out, buffer.data(), buffer.bytes());
    stream.synchronize();
}

template <class F>
void write_point(uint8_t* out, const Xyzz<F>& point) {
    Affine<F> affine = point.to_affine();
    std::memcpy(out, &affine, sizeof affine);
}

template <class T, class Op, class Probe>
void run_probe(Stream& stream, Op op, const void* a, const void* b, void* out, uint32_t count, const Probe& probe) {
    Buffer<T> left = to_card<T>(stream, a, count), right = to_card<T>(stream, b, count), result(count);
    probe(stream, op, left.data(), right.data(), result.data(), count);
    from_card(stream, out, result);
}

} // namespace

extern "C" {

uint32_t pm_abi_version(void) { return PM_ABI_VERSION; }

int32_t pm_device_count(uint32_t* count, pm_error* error) {
    return guarded(error, [&] {
        require(count != nullptr, "count is null");
        int cards = device_count();
        if (cards <= 0) fail(Code::no_device, "there is no card");
        *count = uint32_t(cards);
    });
}

int32_t pm_open(uint32_t device, pm_context** context, pm_error* error) {
    return guarded(error, [&] {
        require(context != nullptr, "context is null");
        *context = nullptr;
        if (int64_t(device) >= device_count())
            fail(Code::no_device, "there is no card " + std::to_string(device) + "; cards are numbered from 0");
        use_device(int(device));
        auto opened = std::make_unique<pm_context>();
        opened->ordinal = int(device);
        opened->stream = std::make_unique<Stream>();
        *context = opened.release();
    });
}

void pm_close(pm_context* context) {
    quietly([&] {
        if (context) use_device(context->ordinal);
        delete context;
    });
}

int32_t pm_describe(pm_context* context, pm_device* device, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(device != nullptr, "device is null");
        DeviceDescription d = describe_device(context->ordinal);
        *device = {};
        std::strncpy(device->name, d.name.c_str(), sizeof device->name - 1);
        std::strncpy(device->uuid, d.uuid.c_str(), sizeof device->uuid - 1);
        device->total_memory = d.total_memory;
        device->free_memory = d.free_memory;
        device->multiprocessors = d.multiprocessors;
        device->driver = d.driver;
        device->runtime = d.runtime;
    });
}

int32_t pm_key_load(pm_context* context, const pm_key_parts* p, pm_key** key, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(p && key, "the parts or the key are null");
        *key = nullptr;
        require(p->inputs >= 1 && p->inputs <= p->variables, "the inputs are none or more than the variables");
        require(p->domain_log <= uint32_t(kMaxDomainLog), "the domain is larger than 2^27");
        require(uint64_t(p->constraints) + p->inputs <= uint64_t(1) << p->domain_log, "the constraints do not fit the domain");
        require(p->matrix_a.rows == p->constraints && p->matrix_b.rows == p->constraints, "a matrix has not one row per constraint");
        require(p->table_len >= 2 && p->table, "the table of coefficients lacks 1 and -1");
        require((p->a || !p->a_len) && ((p->b1 && p->b2) || !p->b_len) && p->h && (p->l || p->inputs == p->variables), "a query is null");
        check_columns(p->a_columns, p->a_len, p->variables);
        check_columns(p->b_columns, p->b_len, p->variables);
        KeyParts parts{};
        parts.inputs = p->inputs;
        parts.variables = p->variables;
        parts.constraints = p->constraints;
        parts.domain_log = int(p->domain_log);
        parts.coset_shift = read<Fr>(p->coset_shift);
        parts.size_inverse = read<Fr>(p->size_inverse);
        parts.a_len = p->a_len;
        parts.b_len = p->b_len;
        parts.a_columns = p->a_columns;
        parts.b_columns = p->b_columns;
        parts.a = p->a;
        parts.b1 = p->b1;
        parts.b2 = p->b2;
        parts.l = p->l;
        parts.h = p->h;
        parts.matrix_a = check_matrix(p->matrix_a, p->variables, p->table_len);
        parts.matrix_b = check_matrix(p->matrix_b, p->variables, p->table_len);
        parts.table = p->table;
        parts.table_len = p->table_len;
        parts.max_copies = int(std::min(p->max_copies, 1u << 8));
        parts.memory_limit = p->memory_limit;
        auto loaded = std::make_unique<pm_key>();
        loaded->context = context;
        loaded->key = std::make_unique<Key>(parts, describe_device(context->ordinal).free_memory);
        *key = loaded.release();
    });
}

int32_t pm_key_describe(const pm_key* key, pm_key_info* info, pm_error* error) {
    return guarded(error, [&] {
        require(key && info, "the key or the info is null");
        const MsmShape& h = key->key->h_shape();
        *info = {key->key->bytes(), uint32_t(h.copies), uint32_t(h.window_bits)};
    });
}

void pm_key_free(pm_key* key) {
    quietly([&] {
        if (!key) return;
        auto lock = enter(key->context);
        delete key;
    });
}

int32_t pm_witness_new(pm_key* key, pm_witness** witness, pm_error* error) {
    return guarded(error, [&] {
        require(key && witness, "the key or the witness is null");
        *witness = nullptr;
        use_device(key->context->ordinal);
        auto made = std::make_unique<pm_witness>();
        made->key = key;
        made->stream = std::make_unique<Stream>();
        made->values = Buffer<Fr>(key->key->variables());
        *witness = made.release();
    });
}

int32_t pm_witness_upload(pm_witness* witness, const void* values, pm_error* error) {
    return guarded(error, [&] {
        require(witness && values, "the witness or its values are null");
        use_device(witness->key->context->ordinal);
        witness->stream->to_device(witness->values.data(), values, witness->values.bytes());
        witness->stream->synchronize();
    });
}

void pm_witness_free(pm_witness* witness) {
    quietly([&] {
        if (witness) use_device(witness->key->context->ordinal);
        delete witness;
    });
}

int32_t pm_prove(pm_key* key, pm_witness* witness, const volatile uint8_t* cancel, pm_sums* sums, pm_timings* timings, pm_counts* counts, pm_error* error) {
    return guarded(error, [&] {
        require(key && witness && sums && timings && counts, "the key, the witness or a result is null");
        require(witness->key == key, "the witness was made for another key");
        auto lock = enter(key->context);
        StageTimes times{};
        StageCounts needed{};
        Sums result = key->key->prove(witness->values.data(), cancel, times, needed);
#if defined(PM_HOST)
        if (simulated_corruption()) result.h.add(G1Affine{Fq::one(), Fq::one().doubled()}, false);
#endif
        write_point(sums->a, result.a);
        write_point(sums->b1, result.b1);
        write_point(sums->b2, result.b2);
        write_point(sums->l, result.l);
        write_point(sums->h, result.h);
        *timings = {times.sparse, times.ntt, times.msm_a, times.msm_b1, times.msm_b2, times.msm_l, times.msm_h, times.total};
        *counts = {needed.sparse, needed.ntt, needed.msm_a, needed.msm_b1, needed.msm_b2, needed.msm_l, needed.msm_h};
    });
}

int32_t pm_bases_new(pm_context* context, uint32_t group, const void* points, uint32_t count, uint32_t window_bits, uint32_t max_copies,
                     pm_bases** bases, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(bases && (points || count == 0), "the points or the bases are null");
        *bases = nullptr;
        require(group == 1 || group == 2, "there are groups 1 and 2");
        require(window_bits == 0 || (window_bits >= uint32_t(kMinWindowBits) && window_bits <= uint32_t(kMaxWindowBits)),
                "window_bits is neither 0 nor within 2..24");
        int copies = max_copies == 0 ? windows_for(kMinWindowBits) : int(std::min(max_copies, 1u << 8));
        MsmShape shape = window_bits ? MsmShape::of(count, int(window_bits), copies) : MsmShape::choose(count, std::min(copies, 32));
        auto made = std::make_unique<pm_bases>();
        made->context = context;
        made->group = group;
        made->arena = Arena(digits_bytes(shape) + (group == 1 ? sum_workspace_bytes<Fq>(shape) : sum_workspace_bytes<Fq2>(shape)) + 4096);
        made->total = PinnedBuffer<uint32_t>(1);
        made->scalars = Buffer<Fr>(count);
        if (group == 1) {
            made->pinned_g1 = PinnedBuffer<G1>(pending_len(shape));
            made->g1 = Query<Fq>(*context->stream, made->arena, shape, points);
        } else {
            made->pinned_g2 = PinnedBuffer<G2>(pending_len(shape));
            made->g2 = Query<Fq2>(*context->stream, made->arena, shape, points);
        }
        *bases = made.release();
    });
}

void pm_bases_free(pm_bases* bases) {
    quietly([&] {
        if (!bases) return;
        auto lock = enter(bases->context);
        delete bases;
    });
}

int32_t pm_bases_sum(pm_bases* bases, const void* scalars, void* sum, float* milliseconds, pm_error* error) {
    return guarded(error, [&] {
        require(bases && sum, "the bases or the sum are null");
        auto lock = enter(bases->context);
        Stream& stream = *bases->context->stream;
        const MsmShape& shape = bases->group == 1 ? bases->g1.shape : bases->g2.shape;
        require(scalars || shape.points == 0, "the scalars are null");
        stream.to_device(bases->scalars.data(), scalars, bases->scalars.bytes());
        stream.synchronize();
        bases->arena.release(0);
        Stopwatch watch(stream);
        DigitSorter sorter(stream, bases->arena, shape, {bases->scalars.data(), nullptr}, bases->total.data());
        auto* out = static_cast<uint8_t*>(sum);
        if (bases->group == 1) {
            auto pending = sum_buckets(stream, bases->arena, shape, bases->g1.table.data(), sorter.finish(), bases->pinned_g1.data());
            watch.stop(milliseconds);
            write_point(out, pending.finish());
        } else {
            auto pending = sum_buckets(stream, bases->arena, shape, bases->g2.table.data(), sorter.finish(), bases->pinned_g2.data());
            watch.stop(milliseconds);
            write_point(out, pending.finish());
        }
    });
}

int32_t pm_transform(pm_context* context, uint32_t kind, void* values, uint32_t log, uint32_t batch, const uint8_t coset_shift[32],
                     const uint8_t size_inverse[32], float* milliseconds, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(values && coset_shift && size_inverse && batch > 0, "an argument is null or the batch is empty");
        require(kind <= 4 && log <= uint32_t(kMaxDomainLog) && (uint64_t(batch) << log) <= 1u << 30, "the kind or the size is out of range");
        Stream& stream = *context->stream;
        Domain domain(stream, int(log), read<Fr>(coset_shift), read<Fr>(size_inverse));
        Buffer<Fr> data = to_card<Fr>(stream, values, size_t(batch) << log);
        SplitPowers shift = domain.shift();
        Stopwatch watch(stream);
        if (kind == 2) {
            transform(stream, domain, data.data(), batch, {Order::scatter, true, &shift, nullptr, nullptr});
            transform(stream, domain, data.data(), batch, {Order::gather, false, nullptr, nullptr, nullptr});
        } else {
            Order order = kind == 0 || kind == 3 ? Order::scatter : Order::gather;
            transform(stream, domain, data.data(), batch, {order, kind >= 3, nullptr, nullptr, nullptr});
        }
        watch.stop(milliseconds);
        from_card(stream, values, data);
    });
}

int32_t pm_quotient(pm_context* context, void* values, uint32_t log, const uint8_t coset_shift[32], const uint8_t size_inverse[32],
                    float* milliseconds, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(values && coset_shift && size_inverse && log <= uint32_t(kMaxDomainLog), "an argument is null or the size out of range");
        Stream& stream = *context->stream;
        Domain domain(stream, int(log), read<Fr>(coset_shift), read<Fr>(size_inverse));
        size_t size = size_t(1) << log;
        Buffer<Fr> data = to_card<Fr>(stream, values, 3 * size);
        Stopwatch watch(stream);
        quotient(stream, domain, data.data());
        watch.stop(milliseconds);
        stream.to_host(values, data.data(), size * sizeof(Fr));
        stream.synchronize();
    });
}

int32_t pm_sparse(pm_context* context, const pm_matrix* matrix, const void* table, uint32_t table_len, const void* vector,
                  uint32_t vector_len, void* out, float* milliseconds, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(matrix && table && table_len >= 2 && vector && (out || matrix->rows == 0), "an argument is null, or the table lacks 1 and -1");
        Stream& stream = *context->stream;
        SparseMatrix sparse(stream, check_matrix(*matrix, vector_len, table_len));
        Buffer<Fr> coefficients = to_card<Fr>(stream, table, table_len), values = to_card<Fr>(stream, vector, vector_len), result(matrix->rows);
        Stopwatch watch(stream);
        sparse.multiply(stream, coefficients.data(), values.data(), result.data());
        watch.stop(milliseconds);
        from_card(stream, out, result);
    });
}

int32_t pm_field_op(pm_context* context, uint32_t field, uint32_t op, const void* a, const void* b, void* out, uint32_t count, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(a && b && out && op < uint32_t(FieldOp::count) && field <= 2, "an argument is null or unknown");
        Stream& stream = *context->stream;
        auto which = static_cast<FieldOp>(op);
        if (field == 0) run_probe<Fq>(stream, which, a, b, out, count, probe_fq);
        if (field == 1) run_probe<Fr>(stream, which, a, b, out, count, probe_fr);
        if (field == 2) run_probe<Fq2>(stream, which, a, b, out, count, probe_fq2);
    });
}

int32_t pm_curve_op(pm_context* context, uint32_t group, uint32_t op, const void* a, const void* b, void* out, uint32_t count, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(a && b && out && op < uint32_t(CurveOp::count) && (group == 1 || group == 2), "an argument is null or unknown");
        Stream& stream = *context->stream;
        auto which = static_cast<CurveOp>(op);
        if (group == 1) run_probe<G1Affine>(stream, which, a, b, out, count, probe_g1);
        if (group == 2) run_probe<G2Affine>(stream, which, a, b, out, count, probe_g2);
    });
}

int32_t pm_multiply_rate(pm_context* context, uint32_t threads, uint32_t rounds, float* milliseconds, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(milliseconds && threads > 0, "the result is null or there are no threads");
        Stream& stream = *context->stream;
        Buffer<Fq> out(threads);
        probe_rate(stream, out.data(), threads, 1);
        Stopwatch watch(stream);
        probe_rate(stream, out.data(), threads, rounds);
        watch.stop(milliseconds);
    });
}

int32_t pm_digits(pm_context* context, const void* scalars, uint32_t count, uint32_t window_bits, int32_t* digits, pm_error* error) {
    return guarded(error, [&] {
        auto lock = enter(context);
        require(scalars && digits && window_bits >= uint32_t(kMinWindowBits) && window_bits <= uint32_t(kMaxWindowBits),
                "an argument is null, or window_bits is not within 2..24");
        Stream& stream = *context->stream;
        Buffer<Fr> values = to_card<Fr>(stream, scalars, count);
        Buffer<int32_t> result(size_t(count) * size_t(windows_for(int(window_bits))));
        probe_digits(stream, values.data(), count, int(window_bits), result.data());
        from_card(stream, digits, result);
    });
}

#if defined(PM_HOST)
void pm_host_set(const char* name, int64_t value) { simulated_set(name, value); }
#endif

} // extern "C"
