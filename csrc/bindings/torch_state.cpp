#include "bindings/torch_state.h"

#include <cstdint>
#include <cstdlib>
#include <new>

namespace nondet::torch_state {
namespace {

namespace py = pybind11;

// Results up to this size get memory of their own, which torch takes over through DLPack in half
// the time of a tensor that it allocates; that memory cannot be resized.
constexpr int64_t kMostOwnBytes = 1 << 18;
constexpr int kMostOwnDims = 8;
constexpr size_t kAlignment = 64;  // as torch's own memory

// Objects live until the process ends: tensors may be freed after the interpreter.
struct State {
  bool paused = false;
  const dlpack::Functions* functions = nullptr;
  PyTypeObject *tensor = nullptr, *parameter = nullptr;
  PyObject* quiet = nullptr;  // a tuple of functions; each returns 0, False or None
  PyObject *function_modes = nullptr, *has_watching_mode = nullptr;
  PyObject *grad_enabled = nullptr, *threads = nullptr;
  PyObject* forward_level = nullptr;  // the namespace of torch.autograd.forward_ad
  PyObject *current_level = nullptr, *requires_grad = nullptr, *is_meta = nullptr;
  PyObject *is_neg = nullptr, *is_conj = nullptr, *new_empty = nullptr;
};
State state;

struct OwnMemory {
  dlpack::Owned owned;
  int64_t shape[kMostOwnDims], strides[kMostOwnDims];
};

bool is_false(PyObject* value) {
  return value == Py_False || value == Py_None ||
         (PyLong_CheckExact(value) && PyLong_AsLong(value) == 0);
}

// Takes over the reference; an exception counts as true and is cleared.
bool is_false_and_release(PyObject* value) {
  if (value == nullptr) {
    PyErr_Clear();
    return false;
  }
  const bool answer = is_false(value);
  Py_DECREF(value);
  return answer;
}

bool returns_false(PyObject* function) {
  return is_false_and_release(PyObject_Vectorcall(function, nullptr, 0, nullptr));
}

PyObject* own_tensor(const dlpack::Tensor& like, int ndim, const int64_t* shape, int64_t bytes,
                     void*& address) {
  // malloc and not aligned_alloc, which takes three times as long for small blocks.
  void* block = std::malloc(sizeof(OwnMemory) + kAlignment + static_cast<size_t>(bytes));
  if (block == nullptr) return PyErr_NoMemory();
  auto* memory = new (block) OwnMemory{};
  const auto end = reinterpret_cast<uintptr_t>(memory + 1);
  address = reinterpret_cast<void*>((end + kAlignment - 1) / kAlignment * kAlignment);
  int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    memory->shape[d] = shape[d];
    memory->strides[d] = stride;
    stride *= shape[d];
  }
  memory->owned.version = {dlpack::kMajor, 0};
  memory->owned.deleter = [](dlpack::Owned* self) { std::free(self); };
  memory->owned.tensor = {address,       like.device,     ndim, like.dtype,
                          memory->shape, memory->strides, 0};
  void* object = nullptr;
  // On failure torch has called the deleter or leaks the block, never both.
  if (state.functions->to_object(&memory->owned, &object) != 0) return nullptr;
  return static_cast<PyObject*>(object);
}

PyObject* torch_tensor(PyObject* like, int ndim, const int64_t* shape, void*& address) {
  py::tuple sizes(static_cast<size_t>(ndim)), strides(static_cast<size_t>(ndim));
  int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    sizes[static_cast<size_t>(d)] = py::int_(shape[d]);
    strides[static_cast<size_t>(d)] = py::int_(stride);
    stride *= shape[d];
  }
  // new_empty takes longer: it parses more.
  PyObject* arguments[] = {like, sizes.ptr(), strides.ptr()};
  PyObject* made = PyObject_VectorcallMethod(state.new_empty, arguments, 3, nullptr);
  if (made == nullptr) return nullptr;
  dlpack::Tensor tensor;
  if (state.functions->describe(made, &tensor) != 0) {
    Py_DECREF(made);
    return nullptr;
  }
  address = static_cast<char*>(tensor.data) + tensor.byte_offset;
  return made;
}

const dlpack::Functions* functions_of(const py::object& capsule) {
  if (capsule.is_none()) return nullptr;
  auto* functions =
      static_cast<dlpack::Functions*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (functions == nullptr) throw py::error_already_set();
  while (functions != nullptr && functions->version.major != dlpack::kMajor)
    functions = functions->older;
  return functions != nullptr && functions->describe != nullptr ? functions : nullptr;
}

// Takes the objects over for as long as the process lives.
void connect(const py::object& capsule, const py::type& tensor, const py::type& parameter,
             const py::tuple& quiet, const py::function& function_modes,
             const py::function& has_watching_mode, const py::function& grad_enabled,
             const py::dict& forward_level, const py::function& threads) {
  const auto kept = [](const py::object& object) { return py::object(object).release().ptr(); };
  state.functions = functions_of(capsule);
  state.tensor = reinterpret_cast<PyTypeObject*>(kept(tensor));
  state.parameter = reinterpret_cast<PyTypeObject*>(kept(parameter));
  state.quiet = kept(quiet);
  state.function_modes = kept(function_modes);
  state.has_watching_mode = kept(has_watching_mode);
  state.grad_enabled = kept(grad_enabled);
  state.forward_level = kept(forward_level);
  state.threads = kept(threads);
  state.current_level = PyUnicode_InternFromString("_current_level");
  state.requires_grad = PyUnicode_InternFromString("requires_grad");
  state.is_meta = PyUnicode_InternFromString("is_meta");
  state.is_neg = PyUnicode_InternFromString("is_neg");
  state.is_conj = PyUnicode_InternFromString("is_conj");
  state.new_empty = PyUnicode_InternFromString("new_empty_strided");
}

bool is_plain_type(PyObject* object) {
  return is_plain_class(reinterpret_cast<PyObject*>(Py_TYPE(object)));
}

bool is_recorded(PyObject* tensor) {
  return !is_false_and_release(PyObject_GetAttr(tensor, state.requires_grad)) &&
         !returns_false(state.grad_enabled);
}

bool is_negated(PyObject* tensor) {
  return !is_false_and_release(PyObject_VectorcallMethod(state.is_neg, &tensor, 1, nullptr));
}

bool is_conjugated(PyObject* tensor) {
  return !is_false_and_release(PyObject_VectorcallMethod(state.is_conj, &tensor, 1, nullptr));
}

// Describes a tensor on the CPU that is no lazy negation.
bool describe_plain(PyObject* object, dlpack::Tensor& tensor) {
  return describe(object, tensor) && tensor.device.type == dlpack::kCpu && !is_negated(object);
}

// Returns true if a call with these arguments may go straight to a kernel. `tensors` are the
// places of tensors (or None), `lists` those of sequences of tensors.
PyObject* direct(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 3 || !PyTuple_CheckExact(arguments[0])) {
    PyErr_SetString(PyExc_TypeError, "direct takes three tuples");
    return nullptr;
  }
  PyObject *values = arguments[0], *tensors = arguments[1], *lists = arguments[2];
  if (!nothing_watches()) Py_RETURN_FALSE;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tensors); ++i) {
    PyObject* value = PyTuple_GET_ITEM(values, PyLong_AsSsize_t(PyTuple_GET_ITEM(tensors, i)));
    if (value != Py_None && !is_plain(value)) Py_RETURN_FALSE;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lists); ++i) {
    PyObject* value = PyTuple_GET_ITEM(values, PyLong_AsSsize_t(PyTuple_GET_ITEM(lists, i)));
    PyObject* items = PySequence_Fast(value, "a sequence of tensors");
    if (items == nullptr) return nullptr;
    bool plain = true;
    for (Py_ssize_t j = 0; plain && j < PySequence_Fast_GET_SIZE(items); ++j)
      plain = is_plain(PySequence_Fast_GET_ITEM(items, j));
    Py_DECREF(items);
    if (!plain) Py_RETURN_FALSE;
  }
  Py_RETURN_TRUE;
}

PyMethodDef methods[] = {
    {"direct", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(direct)), METH_FASTCALL,
     nullptr},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool nothing_watches() {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(state.quiet); ++i)
    if (!returns_false(PyTuple_GET_ITEM(state.quiet, i))) return false;
  PyObject* level = PyDict_GetItemWithError(state.forward_level, state.current_level);
  if (level == nullptr || PyLong_AsLong(level) >= 0) {
    PyErr_Clear();
    return false;
  }
  return returns_false(state.function_modes) || returns_false(state.has_watching_mode);
}

bool is_plain(PyObject* object) {
  return is_plain_type(object) && is_false_and_release(PyObject_GetAttr(object, state.is_meta)) &&
         !is_negated(object) && !is_recorded(object);
}

bool is_plain_class(PyObject* type) {
  return type == reinterpret_cast<PyObject*>(state.tensor) ||
         type == reinterpret_cast<PyObject*>(state.parameter);
}

bool is_tensor(PyObject* object) { return PyObject_TypeCheck(object, state.tensor) != 0; }

bool describe(PyObject* object, dlpack::Tensor& tensor) {
  if (state.functions == nullptr || state.paused || !is_plain_type(object)) return false;
  // Refuses tensors of other layouts and without memory.
  if (state.functions->describe(object, &tensor) != 0) {
    PyErr_Clear();
    return false;
  }
  return true;
}

bool describe_cpu(PyObject* object, dlpack::Tensor& tensor) {
  return describe_plain(object, tensor) && tensor.dtype.lanes == 1 && !is_recorded(object);
}

bool describe_cpu_bits(PyObject* object, dlpack::Tensor& tensor) {
  return describe_plain(object, tensor) &&
         (tensor.dtype.code != dlpack::kComplex || !is_conjugated(object));
}

bool has_memory(PyObject* object, const dlpack::Tensor& tensor) {
  // Without memory the address is the offset in the storage alone.
  constexpr uintptr_t kCertain = sizeof(void*) > 4 ? UINTPTR_MAX >> 24 : UINTPTR_MAX;
  if (reinterpret_cast<uintptr_t>(tensor.data) >= kCertain) return true;
  PyObject* storage = PyObject_CallMethod(object, "untyped_storage", nullptr);
  PyObject* address =
      storage != nullptr ? PyObject_CallMethod(storage, "data_ptr", nullptr) : nullptr;
  Py_XDECREF(storage);
  const bool found = address != nullptr && !is_false(address);
  Py_XDECREF(address);
  PyErr_Clear();
  return found;
}

PyObject* make_like(PyObject* object, const dlpack::Tensor& like, int ndim, const int64_t* shape,
                    void*& address) {
  int64_t bytes = like.dtype.bits / 8;
  for (int d = 0; d < ndim; ++d) bytes *= shape[d];
  if (bytes <= kMostOwnBytes && ndim <= kMostOwnDims)
    return own_tensor(like, ndim, shape, bytes, address);
  return torch_tensor(object, ndim, shape, address);
}

int threads() {
  PyObject* value = PyObject_Vectorcall(state.threads, nullptr, 0, nullptr);
  if (value == nullptr) return -1;
  const long number = PyLong_AsLong(value);
  Py_DECREF(value);
  return static_cast<int>(number);
}

void bind(py::module_& m) {
  m.def("connect", connect, py::kw_only(), py::arg("capsule"), py::arg("tensor"),
        py::arg("parameter"), py::arg("quiet"), py::arg("function_modes"),
        py::arg("has_watching_mode"), py::arg("grad_enabled"), py::arg("forward_level"),
        py::arg("threads"));
  // Stops direct calls on CPU tensors, for tests that send these elsewhere.
  m.def("pause", [](bool paused) { state.paused = paused; });
  if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace nondet::torch_state
