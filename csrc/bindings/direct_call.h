// What functions of nondet_ext._C.direct share.
#pragma once

#include <exception>
#include <new>

#include "bindings/arguments.h"

namespace nondet {

// Calls body(). Returns false with a Python exception set if it throws.
template <class Body>
bool caught(const Body& body) {
  try {
    body();
    return true;
  } catch (py::error_already_set& raised) {
    raised.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return false;
}

// Calls a kernel in the default floating-point mode. `unlocked`: other Python threads continue
// meanwhile, and Ctrl-C ends it.
template <class Kernel>
void run_kernel(bool unlocked, const Kernel& kernel) {
  if (!unlocked) {
    const cpu::DefaultFloatMode mode;
    kernel();
  } else {
    const py::gil_scoped_release released;
    const cpu::DefaultFloatMode mode;
    const Answering answering;
    kernel();
  }
}

inline PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace nondet
