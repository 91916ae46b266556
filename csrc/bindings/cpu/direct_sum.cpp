// Sums of plain CPU tensors, called with the arguments of `nondet_ext.sum`: a small sum takes no
// longer than to hand its arguments through Python's layers.
#include "bindings/direct_call.h"
#include "bindings/torch_state.h"
#include "cpu/summation.h"
#include "numerics/layout.h"

namespace nondet {
namespace {

using torch_state::describe_cpu;

// Sums of so few elements start no thread, and keep Python's global lock.
constexpr int64_t kOneThread = 1 << 15;
constexpr int64_t kKeepsLock = 1 << 18;

bool dtype_of(const dlpack::Type& type, DType& dtype) {
  if (type.code == dlpack::kFloat && type.bits == 32)
    dtype = DType::float32;
  else if (type.code == dlpack::kFloat && type.bits == 64)
    dtype = DType::float64;
  else if (type.code == dlpack::kFloat && type.bits == 16)
    dtype = DType::float16;
  else if (type.code == dlpack::kBfloat && type.bits == 16)
    dtype = DType::bfloat16;
  else
    return false;
  return true;
}

// Marks the dimension that an int names.
bool mark(PyObject* value, int ndim, uint64_t& reduced) {
  if (!PyLong_CheckExact(value)) return false;
  int overflow = 0;
  int64_t dim = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow != 0 || dim < -ndim || dim >= ndim) return false;
  dim += dim < 0 ? ndim : 0;
  const uint64_t bit = uint64_t{1} << dim;
  if (reduced & bit) return false;
  reduced |= bit;
  return true;
}

// Marks the dimensions that `dim` names: an int, a tuple of ints, or all for None and ().
bool mark_all(PyObject* value, int ndim, uint64_t& reduced) {
  reduced = 0;
  const bool is_tuple = PyTuple_CheckExact(value);
  if (value == Py_None || (is_tuple && PyTuple_GET_SIZE(value) == 0)) {
    reduced = (uint64_t{1} << ndim) - 1;
    return true;
  }
  if (!is_tuple) return mark(value, ndim, reduced);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i)
    if (!mark(PyTuple_GET_ITEM(value, i), ndim, reduced)) return false;
  return true;
}

bool order_of(PyObject* value, Order& order) {
  if (!PyUnicode_CheckExact(value)) return false;
  if (PyUnicode_CompareWithASCIIString(value, "fixed") == 0)
    order = Order::fixed;
  else if (PyUnicode_CompareWithASCIIString(value, "exact") == 0)
    order = Order::exact;
  else
    return false;
  return true;
}

struct Reduction {
  dlpack::Tensor x;
  DType dtype;
  Order order;
  Layout kept{}, reduced{};
  int ndim = 0;  // of the result
  int64_t shape[kMaxDims];
  int64_t elements = 1, outputs = 1;
};

// Reads the arguments (x, dim, keepdim, order, seed, out). Returns false where a direct call does
// not serve, bad arguments included.
bool read(PyObject* const* arguments, Reduction& job) {
  PyObject *dim = arguments[1], *keepdim = arguments[2];
  if (arguments[4] != Py_None || arguments[5] != Py_None || !PyBool_Check(keepdim)) return false;
  uint64_t marked;
  if (!order_of(arguments[3], job.order) || !torch_state::nothing_watches() ||
      !describe_cpu(arguments[0], job.x) || !dtype_of(job.x.dtype, job.dtype) ||
      job.x.ndim > kMaxDims || !mark_all(dim, job.x.ndim, marked))
    return false;
  for (int d = 0; d < job.x.ndim; ++d) {
    const int64_t size = job.x.shape[d];
    job.elements *= size;
    if (marked >> d & 1) {
      append(job.reduced, size, job.x.strides[d]);
      if (keepdim == Py_True) job.shape[job.ndim++] = 1;
    } else {
      append(job.kept, size, job.x.strides[d]);
      job.outputs *= size;
      job.shape[job.ndim++] = size;
    }
  }
  return job.elements > 0;
}

PyObject* reduce(PyObject* const* arguments, Py_ssize_t count, bool mean) {
  Reduction job;
  if (count != 6) {
    PyErr_SetString(PyExc_TypeError, "sum takes x, dim, keepdim, order, seed and out");
    return nullptr;
  }
  if (!read(arguments, job)) Py_RETURN_NONE;
  const int threads = job.elements < kOneThread ? 1 : torch_state::threads();
  if (threads < 0) return nullptr;
  void* out = nullptr;
  PyObject* result = torch_state::make_like(arguments[0], job.x, job.ndim, job.shape, out);
  if (result == nullptr) return nullptr;
  const void* x = static_cast<const char*>(job.x.data) + job.x.byte_offset;
  const auto run = [&] {
    cpu::sum(job.dtype, x, job.kept, job.reduced, out, mean ? job.elements / job.outputs : 0,
             job.order, {}, threads);
  };
  if (caught([&] { run_kernel(job.elements > kKeepsLock, run); })) return result;
  Py_DECREF(result);
  return nullptr;
}

PyObject* sum(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return reduce(arguments, count, false);
}

PyObject* mean(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return reduce(arguments, count, true);
}

PyMethodDef methods[] = {{"sum", fast(sum), METH_FASTCALL, nullptr},
                         {"mean", fast(mean), METH_FASTCALL, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_direct_sum(py::module_& m) {
  if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace nondet
