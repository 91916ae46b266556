// The objects of the recorder of traces that Python and C++ both read at every operation: plain
// structs with the attributes of Python objects.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <optional>

namespace nondet::trace {

namespace py = pybind11;
using Ref = py::object;

// Takes over a reference; throws the exception that is set if it is null.
inline Ref own(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<Ref>(object);
}

inline Ref borrow(PyObject* object) { return py::reinterpret_borrow<Ref>(object); }

// Throws the exception that is set if a call returned a failure.
inline void check(bool succeeded) {
  if (!succeeded) throw py::error_already_set();
}

[[noreturn]] inline void throw_type_error(const char* message) {
  PyErr_SetString(PyExc_TypeError, message);
  throw py::error_already_set();
}

inline long long integer(PyObject* object) {
  const long long value = PyLong_AsLongLong(object);
  check(value != -1 || PyErr_Occurred() == nullptr);
  return value;
}

// What a record did with a value.
enum : int { kWritten, kRead };

// What a tensor held at some time, see python/nondet/tracing/record/storages.py.
struct Value {
  PyObject_HEAD PyObject *owner, *digest;
  Py_ssize_t serial, slot;
  long long version;
  int kind;

  static constexpr auto references() { return std::array{&Value::owner, &Value::digest}; }
  void destroy() {}
};

// A storage that was seen, see the same file.
struct Memory {
  PyObject_HEAD PyObject *weak, *values, *device, *name;
  Py_ssize_t alignment, tag;
  char hashed, shared, blank;

  static constexpr auto references() {
    return std::array{&Memory::weak, &Memory::values, &Memory::device, &Memory::name};
  }
  void destroy() {}
};

// Where a stream stands, see python/nondet/tracing/record/stream.py.
struct Position {
  PyObject_HEAD PyObject* entries;
  Py_ssize_t serial, begin, before;

  static constexpr auto references() { return std::array{&Position::entries}; }
  void destroy() {}
};

// A call of a module that is under way, see python/nondet/tracing/record/lines.py.
struct ModuleCall {
  PyObject_HEAD PyObject* module;
  Py_ssize_t name;
  int64_t line, user;
  char training, has_line;

  static constexpr auto references() { return std::array{&ModuleCall::module}; }
  void destroy() {}
};

// Python's types of these, made once.
struct Types {
  PyTypeObject *value, *memory, *position, *call;
};
extern Types types;

Ref make_value(int kind, PyObject* owner, Py_ssize_t serial, Py_ssize_t slot, long long version);

// Returns where a stream's next record finds a value that it wrote or read in this step or wrote in
// the step before: four times the distance to that record (in the step before: its index), plus 0
// for a result, 1 for a read and 2 for the step before. Returns nothing for other values.
std::optional<int64_t> recent(const Position& stream, const Value& value);

// Returns the largest power of two, at most 64, that divides an address.
int64_t alignment_of(uint64_t address);

// The slots of a type T whose objects hold other objects.
template <class T>
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  for (auto member : T::references()) Py_VISIT(reinterpret_cast<T*>(self)->*member);
  return 0;
}

template <class T>
int clear(PyObject* self) {
  for (auto member : T::references()) Py_CLEAR(reinterpret_cast<T*>(self)->*member);
  return 0;
}

template <class T>
void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  clear<T>(self);
  reinterpret_cast<T*>(self)->destroy();
  type->tp_free(self);
  Py_DECREF(type);
}

template <class T>
void* slot(T function) {
  return reinterpret_cast<void*>(function);
}

// Makes a type and adds it to the module; it lives until the process ends.
PyTypeObject* add_type(py::module_& m, PyType_Spec spec);

}  // namespace nondet::trace
