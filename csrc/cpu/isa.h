// Selects the instruction set (ISA) that the CPU kernels use.
#pragma once

#include <string>
#include <vector>

namespace nondet::cpu {

// Returns the ISAs that this build holds and this processor can run, the widest last.
std::vector<std::string> available_isas();
// Returns the ISA in use: at first the widest.
std::string current_isa();
// Selects an ISA for all kernels called from now on; throws std::invalid_argument if `name` is not
// available.
void set_isa(const std::string& name);

}  // namespace nondet::cpu
