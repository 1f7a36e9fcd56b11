// The fake's libicicle_field_bn254.so: transforms and element-wise operations.

#include "field.hpp"
#include "monitor.hpp"

#include <stdexcept>
#include <vector>

namespace {

// The process-wide domain: a primitive root of order 2^log, in Montgomery form.
int domain_log = -1;
Fr domain_root;

Fr canonical(const Limbs& value) { return Fr::from_canonical(value.limb); }

Fr power(Fr base, uint64_t exponent)
{
    Fr result = Fr::small(1);
    for (; exponent; exponent >>= 1, base = base * base)
        if (exponent & 1) result = result * base;
    return result;
}

// Whether the real one finds this among its roots; it computes powers one by one on the host when it does not.
bool is_known_shift(const Fr& shift)
{
    Fr root = domain_root;
    for (int i = 0; i <= domain_log; i++, root = root * root)
        if (shift == root) return true;
    return false;
}

bool flags_hold(bool on_device, const void* at, uint64_t n)
{
    if (on_device && fake_in_device_memory(at, n * sizeof(Fr))) return true;
    fake_violation("a pointer that is not what its flag says");
    return false;
}

// In place, natural order to natural order. Data of either form: the twiddle factors are in Montgomery form.
void transform(std::vector<Fr>& values, const Fr& root)
{
    const size_t n = values.size();
    for (size_t i = 1, j = 0; i < n; i++) {
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) std::swap(values[i], values[j]);
    }
    for (size_t half = 1; half < n; half *= 2) {
        const Fr step = power(root, n / (2 * half));
        for (size_t block = 0; block < n; block += 2 * half) {
            Fr twiddle = Fr::small(1);
            for (size_t i = block; i < block + half; i++) {
                const Fr low = values[i], high = values[i + half] * twiddle;
                values[i] = low + high;
                values[i + half] = low - high;
                twiddle = twiddle * step;
            }
        }
    }
}

void multiply_by_powers(std::vector<Fr>& values, const Fr& base)
{
    Fr factor = Fr::small(1);
    for (Fr& value : values) {
        value = value * factor;
        factor = factor * base;
    }
}

template <class Operation>
int each(const Fr* a, const Fr* b, uint64_t n, const VecConfig* config, Fr* out, Operation operation)
{
    Computing computing(config->stream, config->is_async);
    if (computing.code) return computing.code;
    if (!flags_hold(config->a_on_device, a, n) || !flags_hold(config->result_on_device, out, n)) return INVALID_POINTER;
    if (b && !flags_hold(config->b_on_device, b, n)) return INVALID_POINTER;
    if (config->batch_size != 1 || config->columns_batch) fake_violation("a batch");
    for (uint64_t i = 0; i < n; i++) out[i] = operation(a[i], b ? b[i] : Fr());
    return SUCCESS;
}

} // namespace

extern "C" {

int bn254_ntt_init_domain(const Limbs* root, const NttDomainConfig* config)
{
    Computing computing(config->stream, config->is_async);
    if (computing.code) return computing.code;
    if (domain_log >= 0) return SUCCESS; // silently keeps what it has, as the real one
    Fr power = canonical(*root);
    int log = 0;
    for (; !(power == Fr::small(1)); log++) {
        if (log == 28) return INVALID_ARGUMENT;
        power = power * power;
    }
    domain_log = log;
    domain_root = canonical(*root);
    return SUCCESS;
}

int bn254_ntt_release_domain()
{
    domain_log = -1;
    return SUCCESS;
}

int bn254_ntt(const Fr* in, int size, int direction, const NttConfig* config, Fr* out)
{
    Computing computing(config->stream, config->is_async);
    if (computing.code) return computing.code;
    if (size <= 0 || (size & (size - 1))) throw std::runtime_error("the size is no power of two");
    int log = 0;
    while ((1 << log) < size) log++;
    if (log > domain_log) throw std::runtime_error("the transform is larger than the domain, or there is none");
    if (!flags_hold(config->inputs_on_device, in, size) || !flags_hold(config->outputs_on_device, out, size))
        return INVALID_POINTER;
    if (config->ordering != 0 || config->batch_size != 1 || config->columns_batch) fake_violation("an unusual order");
    const Fr shift = canonical(config->coset_gen);
    if (!is_known_shift(shift)) fake_violation("a coset that is not among the roots");
    std::vector<Fr> values(in, in + size);
    const Fr root = power(domain_root, (uint64_t)1 << (domain_log - log));
    if (direction == 0) {
        multiply_by_powers(values, shift);
        transform(values, root);
    } else {
        transform(values, root.inverse());
        const Fr scale = Fr::small(size).inverse();
        for (Fr& value : values) value = value * scale;
        multiply_by_powers(values, shift.inverse());
    }
    if (fake_asked("wrong-ntt")) values[size / 2] = values[size / 2] + Fr::small(1);
    for (int i = 0; i < size; i++) out[i] = values[i];
    return SUCCESS;
}

// Operands are canonical: a product of two Montgomery forms comes out with a factor too many, as in the real one.
int bn254_vector_mul(const Fr* a, const Fr* b, uint64_t n, const VecConfig* config, Fr* out)
{
    return each(a, b, n, config, out, [](const Fr& a, const Fr& b) { return Fr::from_canonical((a * b).limb); });
}

int bn254_vector_sub(const Fr* a, const Fr* b, uint64_t n, const VecConfig* config, Fr* out)
{
    return each(a, b, n, config, out, [](const Fr& a, const Fr& b) { return a - b; });
}

int bn254_scalar_convert_montgomery(const Fr* in, uint64_t n, bool into, const VecConfig* config, Fr* out)
{
    return each(in, nullptr, n, config, out, [into](const Fr& a, const Fr&) {
        return into ? Fr::from_canonical(a.limb) : a.canonical();
    });
}

#ifndef FAKE_OLD
int bn254_vector_sum(const Fr*, uint64_t, const VecConfig*, Fr*) { return SUCCESS; }
#endif
}
