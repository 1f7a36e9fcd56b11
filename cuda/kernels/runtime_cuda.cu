// The card behind runtime.cuh: the CUDA runtime, and sorting and prefix sums from CUB.
#include "runtime.cuh"

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include <cstdio>

namespace pm {

void fail(Code code, const std::string& message) { throw Error{code, message}; }

void check(cudaError_t result, const char* what) {
    if (result == cudaSuccess) return;
    std::string message = std::string(what) + ": " + cudaGetErrorName(result) + ", " + cudaGetErrorString(result);
    switch (result) {
    case cudaErrorMemoryAllocation:
        // Not sticky: taken off the thread, so that it is not reported twice.
        cudaGetLastError();
        fail(Code::out_of_memory, message);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
        cudaGetLastError();
        fail(Code::no_device, message);
    default:
        // A sticky error is reported by every call from now on, this one included.
        fail(cudaGetLastError() != cudaSuccess && cudaDeviceSynchronize() != cudaSuccess ? Code::lost : Code::device, message);
    }
}

int device_count() {
    int count = 0;
    check(cudaGetDeviceCount(&count), "counting the cards");
    return count;
}

void use_device(int ordinal) { check(cudaSetDevice(ordinal), "choosing the card"); }

DeviceDescription describe_device(int ordinal) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, ordinal), "describing the card");
    DeviceDescription d;
    d.name = properties.name;
    const auto* u = reinterpret_cast<const unsigned char*>(properties.uuid.bytes);
    char text[48];
    std::snprintf(text, sizeof text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4],
                  u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    d.uuid = text;
    size_t free_bytes = 0, total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for the card's memory");
    d.total_memory = total_bytes;
    d.free_memory = free_bytes;
    d.multiprocessors = uint32_t(properties.multiProcessorCount);
    check(cudaDriverGetVersion(&d.driver), "asking for the driver's version");
    check(cudaRuntimeGetVersion(&d.runtime), "asking for the runtime's version");
    return d;
}

void* allocate(size_t bytes) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes), "allocating memory on the card");
    return memory;
}

void deallocate(void* memory) noexcept {
    // Fails only on a lost card, where there is nothing left to free.
    if (memory) (void)cudaFree(memory);
}

bool pin(void* memory, size_t bytes) {
    if (cudaHostRegister(memory, bytes, cudaHostRegisterDefault) == cudaSuccess) return true;
    cudaGetLastError();
    return false;
}

void unpin(void* memory) noexcept { (void)cudaHostUnregister(memory); }

Stream::Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
Stream::~Stream() { (void)cudaStreamDestroy(stream_); }
void Stream::to_device(void* device, const void* host, size_t bytes) {
    if (bytes) check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "copying to the card");
}
void Stream::to_host(void* host, const void* device, size_t bytes) {
    if (bytes) check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "copying from the card");
}
void Stream::on_device(void* to, const void* from, size_t bytes) {
    if (bytes) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copying on the card");
}
void Stream::clear(void* device, size_t bytes) {
    if (bytes) check(cudaMemsetAsync(device, 0, bytes, stream_), "clearing memory of the card");
}
void Stream::synchronize() { check(cudaStreamSynchronize(stream_), "waiting for the card"); }

Event::Event() { check(cudaEventCreate(&event_), "making an event"); }
Event::~Event() { (void)cudaEventDestroy(event_); }
void Event::record(Stream& stream) { check(cudaEventRecord(event_, stream.raw()), "recording an event"); }
void Event::hold_back(Stream& stream) const { check(cudaStreamWaitEvent(stream.raw(), event_, 0), "ordering two streams"); }
void Event::synchronize() { check(cudaEventSynchronize(event_), "waiting for the card"); }
float Event::since(const Event& start) const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start.event_, event_), "reading an event");
    return milliseconds;
}

void before_launch(const char*) {}

size_t sort_bytes(uint32_t count, int bits) {
    size_t bytes = 0;
    cub::DoubleBuffer<uint32_t> keys(nullptr, nullptr), values(nullptr, nullptr);
    check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, values, int64_t(count), 0, bits), "planning a sort");
    return bytes;
}

void sort_pairs(Stream& stream, Pairs& pairs, uint32_t count, int bits, void* temporary, size_t temporary_bytes) {
    cub::DoubleBuffer<uint32_t> keys(pairs.keys, pairs.other_keys), values(pairs.values, pairs.other_values);
    check(cub::DeviceRadixSort::SortPairs(temporary, temporary_bytes, keys, values, int64_t(count), 0, bits, stream.raw()), "sorting");
    pairs = {keys.Current(), values.Current(), keys.Alternate(), values.Alternate()};
}

size_t sum_bytes(uint32_t count) {
    size_t bytes = 0;
    check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, static_cast<const uint32_t*>(nullptr), static_cast<uint32_t*>(nullptr), int64_t(count)),
          "planning a prefix sum");
    return bytes;
}

void exclusive_sum(Stream& stream, const uint32_t* in, uint32_t* out, uint32_t count, void* temporary, size_t temporary_bytes) {
    check(cub::DeviceScan::ExclusiveSum(temporary, temporary_bytes, in, out, int64_t(count), stream.raw()), "adding up");
}

} // namespace pm
