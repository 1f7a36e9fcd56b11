// The card as the rest of the library sees it: memory, streams, events, and two ways to launch a kernel. Compiled with PM_HOST it is
// a simulated card in main memory, so that everything above it, down to each thread's index arithmetic, runs in tests without a GPU.
//
// A kernel is a struct with its arguments as members.
// - Item kernels have `PM_HD void operator()(uint32_t item) const`: one thread an item, which talks to no other.
// - Block kernels have `phases()` and `PM_HD void run(phase, at, shared) const`: a barrier lies between two phases, and threads of a block
//   talk only through `Shared`. The simulated card runs the threads of a phase one after the other, in an order that
//   PM_HOST_ORDER changes, and blocks on several threads: a result that depends on an order inside a phase shows.
//
// Invariants: every failure is an Error; once a card has failed in a way that CUDA calls sticky, `Error::lost` is set and nothing more can
// be done in this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "chain.cuh"

#if !defined(PM_HOST)
#include <cuda_runtime.h>
#endif

namespace pm {

// Codes of the C interface; see proofmill_cuda.h.
enum class Code : int { ok = 0, no_device = 1, bad_argument = 2, out_of_memory = 3, cancelled = 4, device = 5, lost = 6, internal = 7 };

struct Error {
    Code code;
    std::string message;
};

[[noreturn]] void fail(Code code, const std::string& message);

struct Index {
    uint32_t block, thread;
};

#if defined(PM_HOST)
struct StreamTag;
using RawStream = StreamTag*;
using RawEvent = double*;
#else
using RawStream = cudaStream_t;
using RawEvent = cudaEvent_t;
void check(cudaError_t result, const char* what);
#endif

struct DeviceDescription {
    std::string name, uuid;
    uint64_t total_memory, free_memory;
    uint32_t multiprocessors;
    int driver, runtime;
};

int device_count();
void use_device(int ordinal);
DeviceDescription describe_device(int ordinal);

void* allocate(size_t bytes);
void deallocate(void* memory) noexcept;
// Page-locks memory of the caller, so that copies from it overlap with kernels. False where the system refuses.
bool pin(void* memory, size_t bytes);
void unpin(void* memory) noexcept;

class Stream {
  public:
    Stream();
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    void to_device(void* device, const void* host, size_t bytes);
    void to_host(void* host, const void* device, size_t bytes);
    void on_device(void* to, const void* from, size_t bytes);
    void clear(void* device, size_t bytes);
    void synchronize();
    RawStream raw() const { return stream_; }

  private:
    RawStream stream_ = nullptr;
};

class Event {
  public:
    Event();
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(Stream& stream);
    // Later work of `stream` waits for what was recorded.
    void hold_back(Stream& stream) const;
    void synchronize();
    // Milliseconds from `start` to this event; both must have happened.
    float since(const Event& start) const;

  private:
    RawEvent event_ = nullptr;
};

template <class T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(size_t count) : data_(count ? static_cast<T*>(allocate(count * sizeof(T))) : nullptr), count_(count) {}
    Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
        return *this;
    }
    ~Buffer() { deallocate(data_); }

    T* data() const { return data_; }
    size_t size() const { return count_; }
    size_t bytes() const { return count_ * sizeof(T); }

  private:
    T* data_ = nullptr;
    size_t count_ = 0;
};

// Called before each launch; counts launches for the fault injection of the simulated card.
void before_launch(const char* kernel);

constexpr uint32_t blocks_for(uint64_t items, uint32_t threads) { return uint32_t((items + threads - 1) / threads); }

#if defined(PM_HOST)

// Runs work(0..count) on the simulated card's threads, in an order of its choice.
void simulate(uint32_t count, void (*work)(uint32_t, const void*), const void* context);
// The place of a thread in the order of a phase.
uint32_t shuffled(uint32_t index, uint32_t count);

template <class K>
void launch_items(Stream&, uint32_t items, const K& kernel) {
    if (items == 0) return;
    before_launch(K::kName);
    struct Context {
        const K& kernel;
        uint32_t items;
    } context{kernel, items};
    simulate(blocks_for(items, K::kThreads), [](uint32_t block, const void* raw) {
        const auto& context = *static_cast<const Context*>(raw);
        uint32_t begin = block * K::kThreads, count = context.items - begin < K::kThreads ? context.items - begin : K::kThreads;
        for (uint32_t i = 0; i < count; i++) context.kernel(begin + shuffled(i, count));
    }, &context);
}

template <class K>
void launch_blocks(Stream&, uint32_t blocks, const K& kernel) {
    if (blocks == 0) return;
    before_launch(K::kName);
    simulate(blocks, [](uint32_t block, const void* raw) {
        const K& kernel = *static_cast<const K*>(raw);
        typename K::Shared shared;
        for (uint32_t phase = 0; phase < kernel.phases(); phase++)
            for (uint32_t i = 0; i < K::kThreads; i++) kernel.run(phase, Index{block, shuffled(i, K::kThreads)}, shared);
    }, &kernel);
}

#else

template <class K>
__global__ void __launch_bounds__(K::kThreads, K::kMinBlocks) item_entry(const K kernel, uint32_t items) {
    uint32_t item = blockIdx.x * K::kThreads + threadIdx.x;
    if (item < items) kernel(item);
}

template <class K>
__global__ void __launch_bounds__(K::kThreads, K::kMinBlocks) block_entry(const K kernel) {
    __shared__ typename K::Shared shared;
    for (uint32_t phase = 0; phase < kernel.phases(); phase++) {
        if (phase != 0) __syncthreads();
        kernel.run(phase, Index{blockIdx.x, threadIdx.x}, shared);
    }
}

template <class K>
void launch_items(Stream& stream, uint32_t items, const K& kernel) {
    if (items == 0) return;
    before_launch(K::kName);
    item_entry<K><<<blocks_for(items, K::kThreads), K::kThreads, 0, stream.raw()>>>(kernel, items);
    check(cudaGetLastError(), K::kName);
}

template <class K>
void launch_blocks(Stream& stream, uint32_t blocks, const K& kernel) {
    if (blocks == 0) return;
    before_launch(K::kName);
    block_entry<K><<<blocks, K::kThreads, 0, stream.raw()>>>(kernel);
    check(cudaGetLastError(), K::kName);
}

#endif

// Sorts pairs by the low `bits` of their keys; the result is in `keys` and `values`, and the other two buffers hold anything. Stable.
// `temporary` has at least sort_bytes(count, bits) bytes.
struct Pairs {
    uint32_t *keys, *values, *other_keys, *other_values;
};
size_t sort_bytes(uint32_t count, int bits);
void sort_pairs(Stream& stream, Pairs& pairs, uint32_t count, int bits, void* temporary, size_t temporary_bytes);

// out[i] = sum of in[0..i) for i < count. `temporary` has at least sum_bytes(count) bytes.
size_t sum_bytes(uint32_t count);
void exclusive_sum(Stream& stream, const uint32_t* in, uint32_t* out, uint32_t count, void* temporary, size_t temporary_bytes);

} // namespace pm
