// Which SIMD path runs.
#pragma once

#include <string>
#include <vector>

namespace nondet::cpu {

// Paths that this build holds and this processor can run, the widest last.
std::vector<std::string> available_paths();
std::string current_path_name();
// Throws std::invalid_argument for a name that is not available.
void set_path(const std::string& name);

}  // namespace nondet::cpu
