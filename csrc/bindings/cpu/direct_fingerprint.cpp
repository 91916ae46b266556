// Digests of plain CPU tensors, many in a call: Python's layers take longer than to hash a small
// tensor.
#include "bindings/cpu/direct_fingerprint.h"

#include <deque>

#include "bindings/direct_call.h"
#include "bindings/torch_state.h"
#include "cpu/fingerprint.h"
#include "numerics/fingerprint.h"
#include "numerics/layout.h"

namespace nondet {

int usual_number(const dlpack::Type& type) {
  const int bits = type.bits;
  if (type.lanes != 1) return -1;
  switch (type.code) {
    case dlpack::kFloat:
      return bits == 64 ? 1 : bits == 32 ? 2 : bits == 16 ? 3 : -1;
    case dlpack::kBfloat:
      return bits == 16 ? 4 : -1;
    case dlpack::kInt:
      return bits == 16 ? 12 : bits == 32 ? 13 : bits == 64 ? 14 : -1;
    case dlpack::kUInt:
      return bits == 16 ? 16 : bits == 32 ? 17 : bits == 64 ? 18 : -1;
    case dlpack::kBool:
      return bits == 8 ? 19 : -1;
    case dlpack::kComplex:
      return bits == 32 ? 20 : bits == 64 ? 21 : bits == 128 ? 22 : -1;
    default:
      return -1;
  }
}

namespace {

// So few bytes start no thread, and are hashed under Python's global lock.
constexpr int64_t kOneThread = 1 << 19;
constexpr int64_t kKeepsLock = 1 << 16;
constexpr int kMostDims = 64;  // torch's own limit

// Returns the number of a tensor's dtype, from a dict; -1 for a dtype without one.
int number_of(PyObject* tensor, PyObject* numbers) {
  static PyObject* const name = PyUnicode_InternFromString("dtype");
  PyObject* dtype = PyObject_GetAttr(tensor, name);
  PyObject* number = dtype != nullptr ? PyDict_GetItemWithError(numbers, dtype) : nullptr;
  Py_XDECREF(dtype);
  const long found = number != nullptr ? PyLong_AsLong(number) : -1;
  PyErr_Clear();
  return static_cast<int>(found);
}

struct Work {
  std::vector<cpu::Hashed> tensors;
  std::deque<Layout> layouts;  // of the tensors with gaps, at addresses that do not change
  int64_t bytes = 0;
};

// A plain tensor on the CPU.
struct Plain {
  dlpack::Tensor tensor;
  int number, itemsize;
};

// Returns the product of the sizes from dimension `skip` on.
int64_t elements_of(const dlpack::Tensor& tensor, int skip) {
  uint64_t elements = 1;  // sizes beside a zero may overflow
  for (int d = skip; d < tensor.ndim; ++d) elements *= static_cast<uint64_t>(tensor.shape[d]);
  return static_cast<int64_t>(elements);
}

// Returns false for objects that are none, or whose dtype has no number.
bool read(PyObject* object, PyObject* numbers, Plain& x) {
  if (!torch_state::describe_cpu_bits(object, x.tensor)) return false;
  x.number = usual_number(x.tensor.dtype);
  if (x.number < 0) x.number = number_of(object, numbers);
  x.itemsize = x.tensor.dtype.bits * x.tensor.dtype.lanes / 8;
  return x.number >= 0 && x.tensor.ndim <= kMostDims &&
         (elements_of(x.tensor, 0) == 0 || torch_state::has_memory(object, x.tensor));
}

// Runs signal handlers now and then in a loop over many tensors, under Python's global lock.
void look(size_t i) {
  if (i % (1 << 16) == 0 && PyErr_CheckSignals() != 0) throw py::error_already_set();
}

// Describes the tensor without its first `skip` dimensions. Returns false for too many dimensions.
bool describe(const Plain& x, int skip, Layout& layout, cpu::Hashed& hashed) {
  const dlpack::Tensor& tensor = x.tensor;
  uint64_t words[2 + kMostDims];
  int n = 0;
  words[n++] = static_cast<uint64_t>(x.number);
  words[n++] = static_cast<uint64_t>(tensor.ndim - skip);
  layout.dims = 0;
  for (int d = skip; d < tensor.ndim; ++d) {
    words[n++] = static_cast<uint64_t>(tensor.shape[d]);
    if (layout.dims == kMaxDims) return false;
    append(layout, tensor.shape[d], tensor.strides[d]);
  }
  const int64_t elements = elements_of(tensor, skip);
  const bool gaps = elements > 0 && layout.dims > 0 && !(layout.dims == 1 && layout.stride[0] == 1);
  hashed = {fingerprint_head(words, n), static_cast<const char*>(tensor.data) + tensor.byte_offset,
            elements * x.itemsize, gaps ? &layout : nullptr, x.itemsize};
  return true;
}

// Appends the tensor without its first `skip` dimensions, `count` times along the first one.
// Returns false where this cannot be done.
bool append(Work& work, const Plain& x, int skip, int64_t count) {
  Layout layout;
  cpu::Hashed hashed;
  if (!describe(x, skip, layout, hashed)) return false;
  if (hashed.layout != nullptr) {
    work.layouts.push_back(layout);
    hashed.layout = &work.layouts.back();
  }
  const int64_t step = skip > 0 ? x.tensor.strides[0] * x.itemsize : 0;
  work.tensors.reserve(work.tensors.size() + static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    look(static_cast<size_t>(i));
    work.tensors.push_back(hashed);
    hashed.x = static_cast<const char*>(hashed.x) + step;
  }
  work.bytes += count * hashed.bytes;
  return true;
}

// Returns the digests. `threads`: None for torch's number.
std::vector<uint64_t> hash(const Work& work, PyObject* threads) {
  int number = 1;
  if (threads != Py_None)
    number = static_cast<int>(PyLong_AsLong(threads));
  else if (work.bytes >= kOneThread)
    number = torch_state::threads();
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  std::vector<uint64_t> digests(work.tensors.size());
  run_kernel(work.bytes > kKeepsLock,
             [&] { cpu::fingerprints(work.tensors, digests.data(), number); });
  return digests;
}

void put(const py::list& list, Py_ssize_t place, uint64_t digest) {
  if (PyList_SetItem(list.ptr(), place, PyLong_FromUnsignedLongLong(digest)) != 0)
    throw py::error_already_set();
}

// Hashes what it can of `tensors`, a tuple; appends the places of the others to `others`, and
// leaves None there.
py::list hash_plain(PyObject* tensors, PyObject* numbers, PyObject* threads, PyObject* others) {
  const Py_ssize_t n = PyTuple_GET_SIZE(tensors);
  py::list list(static_cast<size_t>(n));
  Work work;
  std::vector<Py_ssize_t> places;
  work.tensors.reserve(static_cast<size_t>(n));
  places.reserve(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    look(static_cast<size_t>(i));
    Plain x;
    if (read(PyTuple_GET_ITEM(tensors, i), numbers, x) && append(work, x, 0, 1)) {
      places.push_back(i);
    } else {
      if (PyList_Append(others, py::int_(i).ptr()) != 0) throw py::error_already_set();
      PyList_SetItem(list.ptr(), i, py::none().release().ptr());
    }
  }
  const std::vector<uint64_t> digests = hash(work, threads);
  for (size_t i = 0; i < digests.size(); ++i) {
    look(i);
    put(list, places[i], digests[i]);
  }
  return list;
}

// fingerprint(x, numbers): the digest of a plain CPU tensor; None for other objects, and where
// something watches calls of torch.
PyObject* fingerprint(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2 || !PyDict_Check(arguments[1])) {
    PyErr_SetString(PyExc_TypeError, "fingerprint takes x and numbers");
    return nullptr;
  }
  PyObject* result = nullptr;
  caught([&] {
    Plain x;
    Work work;
    const bool direct = torch_state::nothing_watches() && read(arguments[0], arguments[1], x) &&
                        append(work, x, 0, 1);
    result =
        direct ? PyLong_FromUnsignedLongLong(hash(work, Py_None)[0]) : py::none().release().ptr();
  });
  return result;
}

// fingerprints(tensors, numbers, threads, others): the digests of a sequence of tensors. `numbers`:
// those of dtypes. `others` takes the places of what is no plain CPU tensor; the result has None
// there.
PyObject* fingerprints(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 4 || !PyDict_Check(arguments[1]) || !PyList_Check(arguments[3])) {
    PyErr_SetString(PyExc_TypeError, "fingerprints takes tensors, numbers, threads and others");
    return nullptr;
  }
  // A list may be changed by another thread meanwhile.
  const auto tensors = py::reinterpret_steal<py::object>(PySequence_Tuple(arguments[0]));
  if (!tensors) return nullptr;
  PyObject* result = nullptr;
  caught([&] {
    result = hash_plain(tensors.ptr(), arguments[1], arguments[2], arguments[3]).release().ptr();
  });
  return result;
}

// row_fingerprints(x, numbers, threads): the digests of x[0], x[1], ...; None if x is no plain CPU
// tensor with rows.
PyObject* row_fingerprints(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 3 || !PyDict_Check(arguments[1])) {
    PyErr_SetString(PyExc_TypeError, "row_fingerprints takes x, numbers and threads");
    return nullptr;
  }
  PyObject* result = nullptr;
  caught([&] {
    Plain x;
    Work work;
    if (!read(arguments[0], arguments[1], x) || x.tensor.ndim == 0 ||
        !append(work, x, 1, x.tensor.shape[0])) {
      result = py::none().release().ptr();
      return;
    }
    py::list list(work.tensors.size());
    Py_ssize_t place = 0;
    for (const uint64_t digest : hash(work, arguments[2])) {
      look(static_cast<size_t>(place));
      put(list, place++, digest);
    }
    result = list.release().ptr();
  });
  return result;
}

PyMethodDef methods[] = {{"fingerprint", fast(fingerprint), METH_FASTCALL, nullptr},
                         {"fingerprints", fast(fingerprints), METH_FASTCALL, nullptr},
                         {"row_fingerprints", fast(row_fingerprints), METH_FASTCALL, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

std::optional<uint64_t> fingerprint_small(PyObject* tensor, PyObject* numbers) {
  Plain x;
  Layout layout;
  cpu::Hashed hashed;
  if (!read(tensor, numbers, x) || !describe(x, 0, layout, hashed) || hashed.bytes > kKeepsLock)
    return {};
  return cpu::fingerprint(hashed);
}

void bind_direct_fingerprint(py::module_& m) {
  if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace nondet
