// What a call asks of torch before it goes straight to a kernel, through Python objects that
// `nondet_ext._direct` hands over: torch is neither included nor linked.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/dlpack.h"

namespace nondet::torch_state {

// Returns true if no mode, transform, tracer or forward-mode derivative is active in this thread.
// Sets no exception.
bool nothing_watches();

// Returns true if the object is a plain tensor (or parameter) with memory, no lazy negation, that
// autograd does not record now. Sets no exception.
bool is_plain(PyObject* object);

// Returns true for tensors of all classes.
bool is_tensor(PyObject* object);

// Returns true for the classes of plain tensors and parameters.
bool is_plain_class(PyObject* type);

// Returns true and describes a plain tensor of any device, whatever autograd does with it; false
// for other objects and tensors without memory of their own, and where torch has no table of
// DLPack's functions or `pause` is on. Sets no exception.
bool describe(PyObject* object, dlpack::Tensor& tensor);

// Returns true and describes a plain tensor on the CPU; false for other objects, and where torch
// has no table of DLPack's functions or `pause` is on. Sets no exception.
bool describe_cpu(PyObject* object, dlpack::Tensor& tensor);

// Does the same for a caller that reads bits: autograd may record the tensor, and it has no lazy
// conjugation. No torch function mode may be active.
bool describe_cpu_bits(PyObject* object, dlpack::Tensor& tensor);

// Returns true if the memory of a tensor with elements is there: a storage may have been resized to
// nothing, and lazy zeros have none. Sets no exception. No torch function mode may be active.
bool has_memory(PyObject* object, const dlpack::Tensor& tensor);

// Returns a new contiguous tensor with the dtype and device of `like` (whose object is `object`)
// and its address; null with an exception set if there is no memory.
PyObject* make_like(PyObject* object, const dlpack::Tensor& like, int ndim, const int64_t* shape,
                    void*& address);

// Returns the number of threads for a CPU kernel called now, or -1 with an exception set.
int threads();

void bind(pybind11::module_& m);

}  // namespace nondet::torch_state
