/* The C interface of libproofmill_cuda: Groth16 over BN254 on one NVIDIA card.
 *
 * Field elements are 32 bytes: four 64-bit words, least significant first, in Montgomery form (value * 2^256 mod p). Points are
 * affine, x then y (G2: c0 then c1 of each), and (0, 0) is infinity. That is how halo2curves and arkworks keep them; pointers need no alignment.
 *
 * Every function returns a code; when it is not PM_OK, `error` (which may be null) holds it again with a sentence. No C++ exception
 * leaves the library. After PM_LOST nothing more can be done in this process: end it and start another. A context works on one thing at a
 * time (calls from several threads wait for each other), except that pm_witness_* run beside pm_prove. */
#ifndef PROOFMILL_CUDA_H
#define PROOFMILL_CUDA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PM_ABI_VERSION 1

enum {
    PM_OK = 0,
    PM_NO_DEVICE = 1,     /* no driver, no card, or none of this number or kind */
    PM_BAD_ARGUMENT = 2,  /* the message says which */
    PM_OUT_OF_MEMORY = 3, /* nothing was kept; the context is usable */
    PM_CANCELLED = 4,
    PM_DEVICE = 5,        /* the card refused one thing; the context is usable */
    PM_LOST = 6,          /* the card or its context is lost for this process */
    PM_INTERNAL = 7
};

typedef struct {
    int32_t code;
    char message[508];
} pm_error;

typedef struct pm_context pm_context;
typedef struct pm_key pm_key;
typedef struct pm_witness pm_witness;
typedef struct pm_bases pm_bases;

typedef struct {
    char name[256];
    char uuid[48]; /* as NVML and nvidia-smi print it */
    uint64_t total_memory, free_memory;
    uint32_t multiprocessors;
    int32_t driver, runtime; /* 1000 * major + 10 * minor */
} pm_device;

typedef struct {
    uint32_t rows;
    const uint64_t* row_ends;     /* rows: row i has the terms row_ends[i - 1] .. row_ends[i] */
    const uint32_t* columns;      /* one per term */
    const uint32_t* coefficients; /* one per term: index into the table; 0 is 1 and 1 is -1 */
} pm_matrix;

typedef struct {
    uint32_t inputs;      /* public inputs, the constant one included */
    uint32_t variables;   /* inputs and private variables */
    uint32_t constraints; /* rows of both matrices */
    uint32_t domain_log;  /* k: constraints + inputs <= 2^k */
    uint8_t coset_shift[32];  /* s, a primitive 2^(k+1)-th root of unity */
    uint8_t size_inverse[32]; /* 2^-k */
    uint32_t a_len, b_len;
    const uint32_t* a_columns; /* variable of each point of a */
    const uint32_t* b_columns; /* variable of each point of b1 and b2 */
    const void* a;  /* a_len points of G1 */
    const void* b1; /* b_len points of G1 */
    const void* b2; /* b_len points of G2 */
    const void* l;  /* variables - inputs points of G1 */
    const void* h;  /* 2^k points of G1 */
    pm_matrix matrix_a, matrix_b;
    const void* table; /* coefficients */
    uint32_t table_len;
    uint32_t max_copies;   /* multiples kept of each point; 0: as many as fit */
    uint64_t memory_limit; /* bytes the key may take on the card; 0: nine tenths of what is free */
} pm_key_parts;

typedef struct {
    uint64_t bytes;      /* on the card, workspace included */
    uint32_t copies;     /* multiples kept of each point of h */
    uint32_t window_bits;/* of h */
} pm_key_info;

typedef struct {
    uint8_t a[64], b1[64], b2[128], l[64], h[64];
} pm_sums;

/* Milliseconds on the card; what runs on the two streams at once overlaps. */
typedef struct {
    float sparse, ntt, msm_a, msm_b1, msm_b2, msm_l, msm_h, total;
} pm_timings;

/* Field multiplications that the method needs for this witness, whatever the card does besides: 10 for each non-zero digit and 28 for
 * each bucket of a sum in G1 (28 and 80 in G2), one for each butterfly, two for each shift, one for each term that is neither 1 nor -1. */
typedef struct {
    uint64_t sparse, ntt, msm_a, msm_b1, msm_b2, msm_l, msm_h;
} pm_counts;

uint32_t pm_abi_version(void);
/* 0 with PM_OK never happens: without a card the code is PM_NO_DEVICE. */
int32_t pm_device_count(uint32_t* count, pm_error* error);
int32_t pm_open(uint32_t device, pm_context** context, pm_error* error);
void pm_close(pm_context* context);
int32_t pm_describe(pm_context* context, pm_device* device, pm_error* error);

/* Copies a key to the card and prepares multiples of its points. The context must outlive the key. */
int32_t pm_key_load(pm_context* context, const pm_key_parts* parts, pm_key** key, pm_error* error);
int32_t pm_key_describe(const pm_key* key, pm_key_info* info, pm_error* error);
void pm_key_free(pm_key* key);

/* Room for one witness of the key on the card. The key must outlive it. */
int32_t pm_witness_new(pm_key* key, pm_witness** witness, pm_error* error);
/* Copies `variables` elements, also while another witness is being proved; returns when they are there. */
int32_t pm_witness_upload(pm_witness* witness, const void* values, pm_error* error);
void pm_witness_free(pm_witness* witness);

/* The unblinded sums of a proof. `cancel` (may be null) is looked at between stages: non-zero ends with PM_CANCELLED. The witness is not checked:
 * one that breaks a constraint gives sums that do not verify. */
int32_t pm_prove(pm_key* key, pm_witness* witness, const volatile uint8_t* cancel, pm_sums* sums, pm_timings* timings, pm_counts* counts, pm_error* error);

/* Single kernels, for tests and benchmarks. Milliseconds (may be null) are those on the card. */

/* Points of group 1 or 2 with their multiples; window_bits 0 chooses, max_copies 0 keeps all. */
int32_t pm_bases_new(pm_context* context, uint32_t group, const void* points, uint32_t count, uint32_t window_bits, uint32_t max_copies,
                     pm_bases** bases, pm_error* error);
void pm_bases_free(pm_bases* bases);
/* sum = sum of scalars[i] * points[i], one affine point. */
int32_t pm_bases_sum(pm_bases* bases, const void* scalars, void* sum, float* milliseconds, pm_error* error);

/* kind 0: values on the domain to coefficients in bit-reversed order, times 2^k; 1: such coefficients to values; 2: values on the domain to
 * values on the odd coset; 3: as 0 with the inverse root; 4: as 1 with the inverse root. In place, `batch` polynomials of 2^log elements. */
int32_t pm_transform(pm_context* context, uint32_t kind, void* values, uint32_t log, uint32_t batch, const uint8_t coset_shift[32],
                     const uint8_t size_inverse[32], float* milliseconds, pm_error* error);
/* A*B - C on the odd coset from three polynomials of 2^log values on the domain; the result is written over the first. */
int32_t pm_quotient(pm_context* context, void* values, uint32_t log, const uint8_t coset_shift[32], const uint8_t size_inverse[32],
                    float* milliseconds, pm_error* error);
int32_t pm_sparse(pm_context* context, const pm_matrix* matrix, const void* table, uint32_t table_len, const void* vector,
                  uint32_t vector_len, void* out, float* milliseconds, pm_error* error);
/* field 0: Fq, 1: Fr, 2: Fq2 (64 bytes). op 0: a + b, 1: a - b, 2: a * b, 3: -a, 4: a^2, 5: 1/a, 6: a as an integer, 7: from an integer (6 and 7 not for Fq2). */
int32_t pm_field_op(pm_context* context, uint32_t field, uint32_t op, const void* a, const void* b, void* out, uint32_t count, pm_error* error);
/* Affine points in and out. op 0: affine + affine, 1: affine - affine, 2: the same sum by the general addition of points with denominators,
 * 3: 2a, 4: 2^8 a. */
int32_t pm_curve_op(pm_context* context, uint32_t group, uint32_t op, const void* a, const void* b, void* out, uint32_t count, pm_error* error);
/* Milliseconds that `threads` threads take for `rounds` dependent multiplications each: the rate to hold the others against. */
int32_t pm_multiply_rate(pm_context* context, uint32_t threads, uint32_t rounds, float* milliseconds, pm_error* error);
/* digits: count rows of `windows` numbers, windows = ceil(254 / window_bits). */
int32_t pm_digits(pm_context* context, const void* scalars, uint32_t count, uint32_t window_bits, int32_t* digits, pm_error* error);

#ifdef __cplusplus
}
#endif

#endif
