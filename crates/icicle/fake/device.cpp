// The fake's libicicle_device.so: devices, memory, configuration extensions, and the watch over the caller.

#include "monitor.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/stat.h>
#include <thread>

namespace {

std::mutex guard;
std::map<const char*, size_t> memory;
std::map<std::string, long> violations;
bool cuda_registered = false;
std::atomic<int> computing{0};
std::atomic<long> calls{0};
std::thread::id owner;

thread_local Device active = {"CPU", 0};

bool is(const Device& device, const char* kind) { return std::strcmp(device.kind, kind) == 0; }

bool registered(const Device& device) { return is(device, "CPU") || (is(device, "CUDA") && cuda_registered); }

bool lost() { return fake_asked("lost-after") && calls > fake_asked("lost-after"); }

} // namespace

struct Extension {
    std::map<std::string, int> ints;
};

extern "C" {

long fake_asked(const char* misbehaviour)
{
    const char* list = std::getenv("ICICLE_FAKE");
    const size_t length = std::strlen(misbehaviour);
    while (list && *list) {
        const char* end = std::strchr(list, ',');
        const size_t item = end ? (size_t)(end - list) : std::strlen(list);
        if (item >= length && std::strncmp(list, misbehaviour, length) == 0) {
            if (item == length) return 1;
            if (list[length] == '=') return std::strtol(list + length + 1, nullptr, 10);
        }
        list = end ? end + 1 : nullptr;
    }
    return 0;
}

void fake_violation(const char* rule)
{
    std::lock_guard<std::mutex> lock(guard);
    violations[rule]++;
}

// The rules that the caller broke, and memory it kept, as text; "" when all is well.
void fake_report(char* out, size_t size)
{
    std::lock_guard<std::mutex> lock(guard);
    std::string text;
    for (const auto& [rule, times] : violations) text += rule + " (" + std::to_string(times) + "); ";
    if (!memory.empty()) text += std::to_string(memory.size()) + " pieces of memory kept; ";
    std::snprintf(out, size, "%s", text.c_str());
}

bool fake_in_device_memory(const void* at, size_t size)
{
    std::lock_guard<std::mutex> lock(guard);
    auto piece = memory.upper_bound((const char*)at);
    if (piece == memory.begin()) return false;
    --piece;
    return (const char*)at + size <= piece->first + piece->second;
}

int fake_ext_int(const void* ext, const char* key, int missing)
{
    if (!ext) return missing;
    const auto& ints = ((const Extension*)ext)->ints;
    const auto found = ints.find(key);
    return found == ints.end() ? missing : found->second;
}

int fake_enter(Stream stream, bool is_async)
{
    calls++;
    if (computing++ > 0) fake_violation("two calls at once");
    if (stream) fake_violation("a stream of its own");
    if (is_async) fake_violation("an asynchronous call");
    {
        std::lock_guard<std::mutex> lock(guard);
        if (owner != std::this_thread::get_id()) violations["a call from a thread that selected no device"]++;
    }
    if (fake_asked("throw-in-call") && calls >= fake_asked("throw-in-call"))
        throw std::runtime_error("!!!Unrecoverable!!! the fake throws through its C interface");
    return lost() ? UNKNOWN_ERROR : SUCCESS;
}

void fake_leave() { computing--; }

int icicle_load_backend(const char* path, bool recursive)
{
    if (fake_asked("throw-in-load")) throw std::runtime_error("no CUDA driver, thrown by the fake while loading");
    struct stat found;
    const std::string plugin = std::string(path) + "/libicicle_backend_cuda_device.so";
    if (recursive && stat(plugin.c_str(), &found) == 0) cuda_registered = true;
    return fake_asked("load-fails") ? BACKEND_LOAD_FAILED : SUCCESS; // success for a missing folder, as the real one
}

int icicle_is_device_available(const Device* device) { return registered(*device) ? SUCCESS : INVALID_DEVICE; }

int icicle_get_registered_devices(char* out, size_t size)
{
    std::snprintf(out, size, "%s", cuda_registered ? "CUDA,CPU" : "CPU");
    return SUCCESS;
}

int icicle_set_device(const Device* device)
{
    if (!registered(*device)) throw std::runtime_error("unknown device");
    if (is(*device, "CUDA") && fake_asked("cuda-refused")) return INVALID_DEVICE;
    std::lock_guard<std::mutex> lock(guard);
    owner = std::this_thread::get_id();
    if (is(*device, "CUDA") && fake_asked("stays-on-cpu")) return SUCCESS;
    active = *device;
    return SUCCESS;
}

int icicle_get_active_device(Device* device)
{
    if (fake_asked("falls-to-cpu-after") && calls > fake_asked("falls-to-cpu-after")) active = {"CPU", 0};
    *device = active;
    return SUCCESS;
}

int icicle_get_available_memory(size_t* total, size_t* free)
{
    *total = *free = (size_t)1 << 30;
    return SUCCESS;
}

int icicle_malloc(void** at, size_t size)
{
    if (lost()) return UNKNOWN_ERROR;
    if (size == 0) return INVALID_ARGUMENT;
    if (fake_asked("no-memory-above") && size > (size_t)fake_asked("no-memory-above")) return OUT_OF_MEMORY;
    *at = std::malloc(size);
    std::lock_guard<std::mutex> lock(guard);
    memory[(const char*)*at] = size;
    return SUCCESS;
}

int icicle_free(void* at)
{
    {
        std::lock_guard<std::mutex> lock(guard);
        if (memory.erase((const char*)at) == 0) {
            violations["freed twice or never allocated"]++;
            return INVALID_POINTER;
        }
    }
    std::free(at);
    return SUCCESS;
}

int icicle_copy_to_host(void* to, const void* from, size_t size)
{
    if (lost()) return COPY_FAILED;
    if (!fake_in_device_memory(from, size)) {
        fake_violation("copied from outside of device memory");
        return INVALID_POINTER;
    }
    std::memcpy(to, from, size);
    return SUCCESS;
}

int icicle_copy_to_device(void* to, const void* from, size_t size)
{
    if (lost()) return COPY_FAILED;
    if (!fake_in_device_memory(to, size)) {
        fake_violation("copied to outside of device memory");
        return INVALID_POINTER;
    }
    std::memcpy(to, from, size);
    return SUCCESS;
}

void* create_config_extension() { return new Extension(); }

void destroy_config_extension(void* ext) { delete (Extension*)ext; }

void config_extension_set_int(void* ext, const char* key, int value) { ((Extension*)ext)->ints[key] = value; }
}
