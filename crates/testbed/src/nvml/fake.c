/* A stand-in for libnvidia-ml.so.1: the part of its C interface that the worker calls, over cards of a text file.
 *
 * The file is `values` in the folder of this library and is read again at every call, so that a test can change a card while
 * it is watched. A line is `key value`; keys of card number n begin with `n.`. A value `!15` makes the call return 15; a
 * key that is missing makes it return 3, not supported. `cards` is the number of cards, `n.lost !15` fails every call.
 *
 * Built with OLD_DRIVER it lacks the functions that old drivers lack. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, MAX_CARDS = 8 };

static char handles[MAX_CARDS];

static unsigned number_of(void *card) { return (unsigned)((char *)card - handles); }

/* The rest of the line that begins with the key and a space. */
static int text_of(const char *key, char *out, size_t size) {
    Dl_info self;
    if (!dladdr((void *)handles, &self)) return NOT_SUPPORTED;
    char path[PATH_MAX];
    const char *slash = strrchr(self.dli_fname, '/');
    snprintf(path, sizeof path, "%.*s/values", slash ? (int)(slash - self.dli_fname) : 1, slash ? self.dli_fname : ".");
    FILE *file = fopen(path, "r");
    if (!file) return NOT_SUPPORTED;
    char line[512];
    int result = NOT_SUPPORTED;
    size_t length = strlen(key);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) != 0 || line[length] != ' ') continue;
        line[strcspn(line, "\n")] = 0;
        const char *value = line + length + 1;
        result = value[0] == '!' ? atoi(value + 1) : SUCCESS;
        snprintf(out, size, "%s", value);
        break;
    }
    fclose(file);
    return result;
}

static int card_text(void *card, const char *key, char *out, size_t size) {
    char full[128], ignored[512];
    snprintf(full, sizeof full, "%u.lost", number_of(card));
    int lost = text_of(full, ignored, sizeof ignored);
    if (lost != NOT_SUPPORTED && lost != SUCCESS) return lost;
    snprintf(full, sizeof full, "%u.%s", number_of(card), key);
    return text_of(full, out, size);
}

static int card_number(void *card, const char *key, unsigned long long *out) {
    char text[512];
    int result = card_text(card, key, text, sizeof text);
    if (result == SUCCESS) *out = strtoull(text, NULL, 0);
    return result;
}

static int card_word(void *card, const char *key, unsigned *out) {
    unsigned long long wide = 0;
    int result = card_number(card, key, &wide);
    if (result == SUCCESS) *out = (unsigned)wide;
    return result;
}

int nvmlInit_v2(void) {
    char text[512];
    int result = text_of("init", text, sizeof text);
    return result == NOT_SUPPORTED ? SUCCESS : result;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text_of("driver", out, size); }

int nvmlDeviceGetCount_v2(unsigned *out) {
    char text[512];
    int result = text_of("cards", text, sizeof text);
    if (result == SUCCESS) *out = (unsigned)atoi(text);
    return result;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
    unsigned count = 0;
    int result = nvmlDeviceGetCount_v2(&count);
    if (result != SUCCESS) return result;
    if (index >= count || index >= MAX_CARDS) return INVALID_ARGUMENT;
    *out = &handles[index];
    return SUCCESS;
}

/* Knows the instances of split cards: `n.instance MIG-...`. */
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
    for (unsigned i = 0; i < MAX_CARDS; i++) {
        char text[512];
        if (card_text(&handles[i], "instance", text, sizeof text) == SUCCESS && strcmp(text, uuid) == 0) {
            *out = &handles[i];
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *instance, void **out) {
    *out = instance;
    return SUCCESS;
}

int nvmlDeviceGetIndex(void *card, unsigned *out) {
    *out = number_of(card);
    return SUCCESS;
}

int nvmlDeviceGetName(void *card, char *out, unsigned size) { return card_text(card, "name", out, size); }
int nvmlDeviceGetUUID(void *card, char *out, unsigned size) { return card_text(card, "uuid", out, size); }

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };

int nvmlDeviceGetPciInfo_v3(void *card, struct pci *out) {
    memset(out, 0, sizeof *out);
    return card_text(card, "bus", out->bus_id, sizeof out->bus_id);
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(void *card, struct memory *out) {
    if (out->version != (sizeof *out | 2u << 24)) return INVALID_ARGUMENT;
    int result = card_number(card, "memory_total", &out->total);
    if (result == SUCCESS) result = card_number(card, "memory_free", &out->free);
    if (result == SUCCESS) out->used = out->total - out->free;
    return result;
}

struct utilisation { unsigned card, memory; };

int nvmlDeviceGetUtilizationRates(void *card, struct utilisation *out) {
    int result = card_word(card, "busy", &out->card);
    return result == SUCCESS ? card_word(card, "memory_busy", &out->memory) : result;
}

int nvmlDeviceGetPowerUsage(void *card, unsigned *out) { return card_word(card, "power", out); }
int nvmlDeviceGetTemperature(void *card, unsigned sensor, unsigned *out) {
    return sensor == 0 ? card_word(card, "temperature", out) : INVALID_ARGUMENT;
}
int nvmlDeviceGetTemperatureThreshold(void *card, unsigned kind, unsigned *out) {
    return kind == 1 ? card_word(card, "slowdown", out) : NOT_SUPPORTED;
}

static int clock_of(void *card, unsigned kind, const char *sm, const char *memory, unsigned *out) {
    if (kind != 1 && kind != 2) return INVALID_ARGUMENT;
    return card_word(card, kind == 1 ? sm : memory, out);
}

int nvmlDeviceGetClockInfo(void *card, unsigned kind, unsigned *out) {
    return clock_of(card, kind, "sm_clock", "memory_clock", out);
}
int nvmlDeviceGetMaxClockInfo(void *card, unsigned kind, unsigned *out) {
    return clock_of(card, kind, "sm_clock_max", "memory_clock_max", out);
}
int nvmlDeviceGetPerformanceState(void *card, unsigned *out) { return card_word(card, "state", out); }

int nvmlDeviceGetTotalEccErrors(void *card, unsigned kind, unsigned counter, unsigned long long *out) {
    if (counter != 0) return INVALID_ARGUMENT;
    return card_number(card, kind == 0 ? "corrected" : "uncorrected", out);
}

int nvmlDeviceGetPcieThroughput(void *card, unsigned direction, unsigned *out) {
    return card_word(card, direction == 0 ? "pcie_sent" : "pcie_received", out);
}
int nvmlDeviceGetCurrPcieLinkGeneration(void *card, unsigned *out) { return card_word(card, "pcie_generation", out); }
int nvmlDeviceGetMaxPcieLinkGeneration(void *card, unsigned *out) { return card_word(card, "pcie_generation_max", out); }
int nvmlDeviceGetCurrPcieLinkWidth(void *card, unsigned *out) { return card_word(card, "pcie_width", out); }
int nvmlDeviceGetMaxPcieLinkWidth(void *card, unsigned *out) { return card_word(card, "pcie_width_max", out); }
int nvmlDeviceGetPcieReplayCounter(void *card, unsigned *out) { return card_word(card, "pcie_replays", out); }

#ifndef OLD_DRIVER
int nvmlDeviceGetEnforcedPowerLimit(void *card, unsigned *out) { return card_word(card, "power_limit", out); }
int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *out) { return card_number(card, "energy", out); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *card, unsigned long long *out) {
    return card_number(card, "throttle", out);
}
int nvmlDeviceGetRetiredPagesPendingStatus(void *card, unsigned *out) { return card_word(card, "retirement_pending", out); }

int nvmlDeviceGetMigMode(void *card, unsigned *current, unsigned *pending) {
    *pending = 0;
    return card_word(card, "mig", current);
}

struct process { unsigned pid; unsigned long long memory; unsigned instance, compute_instance; };

/* `n.process PID BYTES`: one at most. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *card, unsigned *count, struct process *out) {
    char text[512];
    unsigned room = *count;
    int result = card_text(card, "process", text, sizeof text);
    *count = result == SUCCESS ? 1 : 0;
    if (result == NOT_SUPPORTED) return SUCCESS;
    if (result != SUCCESS) return result;
    if (room < 1 || !out) return TOO_SMALL;
    char *rest = text;
    out->pid = (unsigned)strtoul(rest, &rest, 10);
    out->memory = strtoull(rest, NULL, 10);
    out->instance = out->compute_instance = 0xffffffffu;
    return SUCCESS;
}

struct field { unsigned id, scope; long long time, latency; unsigned type; int result; unsigned long long value; };

/* Row remapping: 143 rows, 144 pending, 145 failed; as unsigned integers. */
int nvmlDeviceGetFieldValues(void *card, int count, struct field *fields) {
    for (int i = 0; i < count; i++) {
        const char *keys[] = {"remapped", "remap_pending", "remap_failed"};
        unsigned value = 0, at = fields[i].id - 143;
        fields[i].type = 1;
        fields[i].value = 0;
        fields[i].result = at < 3 ? card_word(card, keys[at], &value) : NOT_SUPPORTED;
        memcpy(&fields[i].value, &value, sizeof value);
    }
    return SUCCESS;
}
#endif
