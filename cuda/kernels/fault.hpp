// Fault injection of the simulated card.
#pragma once

#include <cstdint>

namespace pm {

void simulated_set(const char* name, int64_t value);
// Whether this proof is one to spoil.
bool simulated_corruption();

} // namespace pm
