// The simulated card behind runtime.cuh. Its memory is main memory, filled with a pattern, so that a kernel that reads what nobody wrote
// computes nonsense; its streams run everything at once and in order.
//
// pm_host_set changes it at run time; every name may be set in the environment as PM_HOST_<NAME>:
// MEMORY bytes it has (0: no limit), ORDER the order of threads in a phase (0 up, 1 down, other: shuffled by that number), THREADS,
// DEVICES cards, FAIL_LAUNCH n: launch n from now fails, LOST 1: that failure is sticky, CORRUPT k: every k-th proof has a wrong sum.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "fault.hpp"
#include "runtime.cuh"

namespace pm {

namespace {

class Settings {
  public:
    int64_t get(const char* name, int64_t otherwise) {
        std::lock_guard<std::mutex> lock(mutex_);
        auto found = values_.find(name);
        if (found != values_.end()) return found->second;
        const char* text = std::getenv((std::string("PM_HOST_") + name).c_str());
        return text ? std::atoll(text) : otherwise;
    }
    void set(const char* name, int64_t value) {
        std::lock_guard<std::mutex> lock(mutex_);
        values_[name] = value;
    }

  private:
    std::mutex mutex_;
    std::map<std::string, int64_t> values_;
};

Settings& settings() {
    static Settings instance;
    return instance;
}

std::atomic<uint64_t> memory_used{0};
std::atomic<int64_t> launches_until_failure{-1};
std::atomic<bool> lost{false};
std::atomic<uint64_t> proofs{0};
// Read by every thread of every kernel, so not looked up there.
std::atomic<int64_t> order{0};

// Before each allocation: its size, aligned as cudaMalloc aligns.
constexpr size_t kPrefix = 256;

void check_alive() {
    if (lost) fail(Code::lost, "the simulated card was lost");
}

} // namespace

void simulated_set(const char* name, int64_t value) {
    settings().set(name, value);
    if (std::strcmp(name, "ORDER") == 0) order = value;
    if (std::strcmp(name, "FAIL_LAUNCH") == 0) launches_until_failure = value;
    if (std::strcmp(name, "LOST") == 0 && value == 0) lost = false;
}

bool simulated_corruption() {
    int64_t every = settings().get("CORRUPT", 0);
    return every > 0 && ++proofs % uint64_t(every) == 0;
}

void fail(Code code, const std::string& message) { throw Error{code, message}; }

int device_count() { return int(settings().get("DEVICES", 1)); }

void use_device(int ordinal) {
    if (ordinal < 0 || ordinal >= device_count()) fail(Code::no_device, "there is no simulated card of this number");
    static std::once_flag once;
    std::call_once(once, [] {
        launches_until_failure = settings().get("FAIL_LAUNCH", -1);
        order = settings().get("ORDER", 0);
    });
}

DeviceDescription describe_device(int ordinal) {
    use_device(ordinal);
    int64_t limit = settings().get("MEMORY", 0);
    uint64_t total = limit ? uint64_t(limit) : uint64_t(1) << 34;
    char uuid[48];
    std::snprintf(uuid, sizeof uuid, "GPU-00000000-0000-0000-0000-%012d", ordinal);
    return {"simulated card", uuid, total, total - std::min<uint64_t>(total, memory_used), 4, 0, 0};
}

void* allocate(size_t bytes) {
    check_alive();
    uint64_t limit = uint64_t(settings().get("MEMORY", 0));
    if (limit && memory_used + bytes > limit) fail(Code::out_of_memory, "the simulated card has no memory left");
    auto* block = static_cast<uint8_t*>(std::aligned_alloc(kPrefix, (bytes + 2 * kPrefix - 1) / kPrefix * kPrefix));
    if (!block) fail(Code::out_of_memory, "main memory is used up");
    memory_used += bytes;
    std::memcpy(block, &bytes, sizeof bytes);
    std::memset(block + kPrefix, 0xa5, bytes);
    return block + kPrefix;
}

void deallocate(void* memory) noexcept {
    if (!memory) return;
    auto* block = static_cast<uint8_t*>(memory) - kPrefix;
    size_t bytes;
    std::memcpy(&bytes, block, sizeof bytes);
    memory_used -= bytes;
    std::free(block);
}

bool pin(void*, size_t) { return true; }
void unpin(void*) noexcept {}

Stream::Stream() { check_alive(); }
Stream::~Stream() = default;
void Stream::to_device(void* device, const void* host, size_t bytes) {
    check_alive();
    if (bytes) std::memcpy(device, host, bytes);
}
void Stream::to_host(void* host, const void* device, size_t bytes) { to_device(host, device, bytes); }
void Stream::on_device(void* to, const void* from, size_t bytes) { to_device(to, from, bytes); }
void Stream::clear(void* device, size_t bytes) {
    check_alive();
    if (bytes) std::memset(device, 0, bytes);
}
void Stream::synchronize() { check_alive(); }

Event::Event() : event_(new double(0)) {}
Event::~Event() { delete event_; }
void Event::record(Stream&) {
    *event_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
void Event::hold_back(Stream&) const {}
void Event::synchronize() {}
float Event::since(const Event& start) const { return float(*event_ - *start.event_); }

void before_launch(const char* kernel) {
    check_alive();
    int64_t left = launches_until_failure;
    if (left < 0) return;
    launches_until_failure = left - 1;
    if (left == 0) {
        lost = settings().get("LOST", 0) != 0;
        fail(lost ? Code::lost : Code::device, std::string(kernel) + ": the simulated card failed as it was told to");
    }
}

void simulate(uint32_t count, void (*work)(uint32_t, const void*), const void* context) {
    uint32_t wanted = uint32_t(settings().get("THREADS", std::max(1u, std::thread::hardware_concurrency())));
    uint32_t threads = std::min(wanted, count);
    std::atomic<uint32_t> next{0};
    auto run = [&] {
        for (uint32_t block; (block = next++) < count;) work(shuffled(block, count), context);
    };
    std::vector<std::thread> others;
    for (uint32_t i = 1; i < threads; i++) others.emplace_back(run);
    run();
    for (auto& other : others) other.join();
}

uint32_t shuffled(uint32_t index, uint32_t count) {
    int64_t seed = order;
    if (seed == 0) return index;
    if (seed == 1) return count - 1 - index;
    // A step that has no factor in common with the count visits every place once.
    uint64_t step = uint64_t(seed) | 1;
    auto common = [](uint64_t a, uint64_t b) {
        while (b) std::swap(a %= b, b);
        return a;
    };
    while (common(step, count) != 1) step += 2;
    return uint32_t((index * step + uint64_t(seed) % count) % count);
}

size_t sort_bytes(uint32_t, int) { return 1; }

void sort_pairs(Stream&, Pairs& pairs, uint32_t count, int bits, void*, size_t) {
    check_alive();
    constexpr int kDigit = 11;
    for (int shift = 0; shift < bits; shift += kDigit) {
        uint32_t mask = (1u << std::min(kDigit, bits - shift)) - 1;
        std::vector<uint32_t> places(size_t(mask) + 2, 0);
        for (uint32_t i = 0; i < count; i++) places[((pairs.keys[i] >> shift) & mask) + 1]++;
        for (size_t d = 1; d < places.size(); d++) places[d] += places[d - 1];
        for (uint32_t i = 0; i < count; i++) {
            uint32_t place = places[(pairs.keys[i] >> shift) & mask]++;
            pairs.other_keys[place] = pairs.keys[i];
            pairs.other_values[place] = pairs.values[i];
        }
        std::swap(pairs.keys, pairs.other_keys);
        std::swap(pairs.values, pairs.other_values);
    }
}

size_t sum_bytes(uint32_t) { return 1; }

void exclusive_sum(Stream&, const uint32_t* in, uint32_t* out, uint32_t count, void*, size_t) {
    check_alive();
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t value = in[i];
        out[i] = sum;
        sum += value;
    }
}

} // namespace pm
