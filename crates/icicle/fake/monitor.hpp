// What the fake watches and how it misbehaves; kept by the device library, used by all.
//
// ICICLE_FAKE is a list of misbehaviours, separated by commas, some with a number (`wrong-msm=5`). The tests name them.
#pragma once

#include "abi.hpp"

extern "C" {
// The number given with a misbehaviour, 1 when there is none, 0 when it is not asked for.
long fake_asked(const char* misbehaviour);
// Notes that the caller broke a rule.
void fake_violation(const char* rule);
// Whether these bytes lie in memory that icicle_malloc gave out.
bool fake_in_device_memory(const void* at, size_t size);
// The value of an integer in a configuration extension, `missing` when it is not there.
int fake_ext_int(const void* ext, const char* key, int missing);
// Begins and ends a call that computes; the code is not SUCCESS when the device is lost.
int fake_enter(Stream stream, bool is_async);
void fake_leave();
}

// A computation under way.
struct Computing {
    int code;
    Computing(Stream stream, bool is_async) : code(fake_enter(stream, is_async)) {}
    ~Computing() { fake_leave(); }
};
