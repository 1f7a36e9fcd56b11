// A fake libcuda.so.1: as much of the NVIDIA driver as is asked before ICICLE is loaded.
//
// CUDA_FAKE_INIT is what cuInit returns, CUDA_FAKE_CARDS how many cards there are (one by default).

#include <cstdio>
#include <cstdlib>
#include <cstring>

static int number(const char* variable, int missing)
{
    const char* text = std::getenv(variable);
    return text ? std::atoi(text) : missing;
}

extern "C" {

int cuInit(unsigned) { return number("CUDA_FAKE_INIT", 0); }

int cuDeviceGetCount(int* count)
{
    *count = number("CUDA_FAKE_CARDS", 1);
    return 0;
}

int cuDeviceGet(int* card, int ordinal)
{
    *card = ordinal;
    return 0;
}

int cuDeviceGetName(char* name, int size, int card)
{
    std::snprintf(name, size, "Fake card %d", card);
    return 0;
}

int cuDeviceGetUuid_v2(unsigned char* uuid, int card)
{
    for (int i = 0; i < 16; i++) uuid[i] = 0x10 * i + card;
    return 0;
}

int cuDeviceTotalMem_v2(size_t* bytes, int)
{
    *bytes = (size_t)1 << 30;
    return 0;
}

int cuDriverGetVersion(int* version)
{
    *version = 13000;
    return 0;
}
}
