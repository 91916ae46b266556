// The part of the recorder that torch calls at each operation: the base class of `Dispatch`
// (python/nondet/tracing/record/dispatch.py).
#include <cstddef>

#include "bindings/cpu/direct_fingerprint.h"
#include "bindings/cpu/trace_way.h"
#include "bindings/direct_call.h"
#include "bindings/torch_state.h"

// After Python's other headers.
#include <structmember.h>

namespace nondet::trace {

void bind_objects(py::module_& m);
void bind_places(py::module_& m);

namespace {

struct Watch {
  PyObject_HEAD char off;
  std::shared_ptr<Way>* way;  // an operation that is under way keeps its own
};

// Notes of an operation that go back where they came from.
class Notes {
 public:
  explicit Notes(Way& way) : way_(way), call_(way.take()) {}
  Notes(const Notes&) = delete;
  Notes& operator=(const Notes&) = delete;
  ~Notes() { way_.give(std::move(call_)); }
  Call& operator*() const { return *call_; }

 private:
  Way& way_;
  std::unique_ptr<Call> call_;
};

// Hands the exception that is set to Recorder.fail, so that the run goes on. Returns false, with an
// exception set, for those that a recorder must not keep, such as KeyboardInterrupt.
bool fail(const Way& way) {
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return false;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace != nullptr) PyException_SetTraceback(value, trace);
  PyObject* done = PyObject_CallMethod(way.link(Link::recorder), "fail", "O",
                                       value != nullptr ? value : Py_None);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
  Py_XDECREF(done);
  return done != nullptr;
}

struct Arguments {
  PyObject *function = nullptr, *types = nullptr, *args = nullptr, *kwargs = nullptr;
};

// Reads (function, types, args=(), kwargs=None). Returns false with an exception set.
bool parse(PyObject* const* given, Py_ssize_t count, PyObject* names, Arguments& arguments) {
  PyObject** const places[] = {&arguments.function, &arguments.types, &arguments.args,
                               &arguments.kwargs};
  constexpr const char* kNames[] = {"func", "types", "args", "kwargs"};
  if (count > 4) {
    PyErr_SetString(PyExc_TypeError, "__torch_dispatch__ takes at most 4 arguments");
    return false;
  }
  for (Py_ssize_t i = 0; i < count; ++i) *places[i] = given[i];
  for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i)
    for (size_t j = 0; j < 4; ++j)
      if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), kNames[j]) == 0)
        *places[j] = given[count + i];
  static PyObject* const nothing = PyTuple_New(0);
  if (arguments.args == nullptr) arguments.args = nothing;
  if (arguments.kwargs == Py_None) arguments.kwargs = nullptr;
  const bool right = arguments.function != nullptr && arguments.types != nullptr &&
                     PyTuple_CheckExact(arguments.args) &&
                     (arguments.kwargs == nullptr || PyDict_CheckExact(arguments.kwargs));
  if (!right)
    PyErr_SetString(PyExc_TypeError, "__torch_dispatch__ takes func, types, args, kwargs");
  return right;
}

bool are_plain(PyObject* types) {
  if (!PyTuple_CheckExact(types)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types); ++i)
    if (!torch_state::is_plain_class(PyTuple_GET_ITEM(types, i))) return false;
  return true;
}

// Lets Python deal with the operation.
PyObject* go_long(PyObject* self, const Arguments& given) {
  static PyObject* const name = PyUnicode_InternFromString("dispatch");
  PyObject* kwargs = given.kwargs != nullptr ? Py_NewRef(given.kwargs) : PyDict_New();
  if (kwargs == nullptr) return nullptr;
  PyObject* stack[] = {self, given.function, given.types, given.args, kwargs};
  PyObject* out = PyObject_VectorcallMethod(name, stack, 5, nullptr);
  Py_DECREF(kwargs);
  return out;
}

// __torch_dispatch__(func, types, args=(), kwargs=None)
PyObject* torch_dispatch(PyObject* object, PyObject* const* arguments, Py_ssize_t count,
                         PyObject* names) {
  const auto& self = *reinterpret_cast<Watch*>(object);
  Arguments given;
  if (!parse(arguments, count, names, given)) return nullptr;
  if (self.off) return PyObject_Call(given.function, given.args, given.kwargs);
  if (*self.way == nullptr || !are_plain(given.types)) return go_long(object, given);
  const std::shared_ptr<Way> way = *self.way;
  const Notes call(*way);
  const Op* op = nullptr;
  bool passed = false;
  if (!caught([&] {
        passed = way->passes(given.function);
        if (!passed) op = way->before(given.function, given.args, given.kwargs, *call);
      })) {
    if (!fail(*way)) return nullptr;
    passed = true;
  }
  if (passed) return PyObject_Call(given.function, given.args, given.kwargs);
  if (op == nullptr) return go_long(object, given);
  PyObject* out = PyObject_Call(op->call.ptr(), given.args, given.kwargs);
  if (out == nullptr) return nullptr;
  if (!caught([&] { way->after(*op, *call, given.args, given.kwargs, out); }) && !fail(*way))
    Py_CLEAR(out);
  return out;
}

// connect(links, short_way, part): takes the objects of a stream's recorder, see Link. short_way:
// False sends all operations to Python. part: how many records a part of a step has.
PyObject* connect(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 3 || !PyDict_Check(arguments[0])) {
    PyErr_SetString(PyExc_TypeError, "connect takes links, short_way and part");
    return nullptr;
  }
  const bool done = caught([&] {
    *reinterpret_cast<Watch*>(self)->way =
        std::make_shared<Way>(py::reinterpret_borrow<py::dict>(arguments[0]),
                              arguments[1] == Py_True, integer(arguments[2]));
  });
  if (!done) return nullptr;
  Py_RETURN_NONE;
}

PyObject* new_watch(PyTypeObject* type, PyObject*, PyObject*) {
  auto* self = reinterpret_cast<Watch*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  if (!caught([&] { self->way = new std::shared_ptr<Way>; })) {
    Py_DECREF(self);
    return nullptr;
  }
  return reinterpret_cast<PyObject*>(self);
}

int traverse_watch(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  const auto* way = reinterpret_cast<Watch*>(self)->way;
  // What an operation under way keeps is not the watch's alone.
  return way != nullptr && way->use_count() == 1 ? (*way)->visit(visit, arg) : 0;
}

int clear_watch(PyObject* self) {
  auto* way = reinterpret_cast<Watch*>(self)->way;
  if (way != nullptr) {
    const std::shared_ptr<Way> last = std::move(*way);  // freed when the watch has none
    way->reset();
  }
  return 0;
}

void dealloc_watch(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  clear_watch(self);
  delete reinterpret_cast<Watch*>(self)->way;
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {{"off", T_BOOL, offsetof(Watch, off), 0, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};
PyMethodDef methods[] = {
    {"__torch_dispatch__",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(torch_dispatch)),
     METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"connect", fast(connect), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot slots[] = {{Py_tp_new, slot(new_watch)},
                       {Py_tp_members, members},
                       {Py_tp_methods, methods},
                       {Py_tp_traverse, slot(traverse_watch)},
                       {Py_tp_clear, slot(clear_watch)},
                       {Py_tp_dealloc, slot(dealloc_watch)},
                       {0, nullptr}};

}  // namespace

void bind(py::module_& m) {
  bind_objects(m);
  bind_places(m);
  m.def("fingerprint_small", [](const py::handle& tensor, const py::dict& numbers) {
    return fingerprint_small(tensor.ptr(), numbers.ptr());
  });
  add_type(m, {"nondet_ext._C.trace.Watch", sizeof(Watch), 0,
               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots});
}

}  // namespace nondet::trace
