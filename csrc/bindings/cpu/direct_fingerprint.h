// What other direct calls need of fingerprints.
#pragma once

#include <Python.h>

#include <cstdint>
#include <optional>

#include "bindings/dlpack.h"

namespace nondet {

// Returns the number of a dtype in fingerprints (docs/numerics.md) where DLPack names it without
// doubt: it calls integers of 1 to 7 bits int8 or uint8. Else returns -1.
int usual_number(const dlpack::Type& type);

// Returns the digest of a plain CPU tensor of at most 64 KiB, computed in this thread. `numbers`: a
// dict of those of dtypes. Returns nothing for other objects, and sets no exception. No torch
// function mode may be active.
std::optional<uint64_t> fingerprint_small(PyObject* tensor, PyObject* numbers);

}  // namespace nondet
