// ICICLE's C interface as a caller sees it (3.1 to 4.0), written down a second time so that a slip in one place shows.
#pragma once

#include <cstddef>
#include <cstdint>

using Stream = void*;

struct Device {
    char kind[64];
    int id;
};

struct MsmConfig {
    Stream stream;
    int precompute_factor, c, bitsize, batch_size;
    bool points_shared, scalars_on_device, scalars_montgomery, points_on_device, points_montgomery, results_on_device,
        is_async;
    void* ext;
};

struct Limbs {
    uint64_t limb[4];
};

struct NttConfig {
    Stream stream;
    Limbs coset_gen;
    int batch_size;
    bool columns_batch;
    int ordering;
    bool inputs_on_device, outputs_on_device, is_async;
    void* ext;
};

struct NttDomainConfig {
    Stream stream;
    bool is_async;
    void* ext;
};

struct VecConfig {
    Stream stream;
    bool a_on_device, b_on_device, result_on_device, is_async;
    int batch_size;
    bool columns_batch;
    void* ext;
};

static_assert(sizeof(Device) == 68 && offsetof(Device, id) == 64);
static_assert(sizeof(MsmConfig) == 40 && offsetof(MsmConfig, points_shared) == 24 && offsetof(MsmConfig, ext) == 32);
static_assert(offsetof(MsmConfig, points_montgomery) == 28 && offsetof(MsmConfig, is_async) == 30);
static_assert(sizeof(NttConfig) == 64 && offsetof(NttConfig, coset_gen) == 8 && offsetof(NttConfig, batch_size) == 40);
static_assert(offsetof(NttConfig, ordering) == 48 && offsetof(NttConfig, outputs_on_device) == 53);
static_assert(sizeof(NttDomainConfig) == 24 && offsetof(NttDomainConfig, ext) == 16);
static_assert(sizeof(VecConfig) == 32 && offsetof(VecConfig, batch_size) == 12 && offsetof(VecConfig, ext) == 24);

enum Code {
    SUCCESS = 0,
    INVALID_DEVICE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_POINTER = 3,
    COPY_FAILED = 6,
    INVALID_ARGUMENT = 11,
    BACKEND_LOAD_FAILED = 12,
    UNKNOWN_ERROR = 14,
};
