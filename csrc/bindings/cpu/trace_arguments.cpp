// The arguments of an operation as words of a key: operations with equal keys share an entry.
#include <algorithm>
#include <cstring>

#include "bindings/cpu/trace_way.h"
#include "bindings/torch_state.h"

namespace nondet::trace {
namespace {

// What begins the part of an argument in a key.
enum : uint64_t {
  kTensor,
  kNone,
  kFloat,
  kInteger,
  kTrue,
  kFalse,
  kIntegers,
  kOther,
  kList,
  kName
};

bool is_written(const Op& op, size_t position) {
  for (const size_t each : op.written)
    if (each == position) return true;
  return false;
}

}  // namespace

bool Way::note_arguments(const Op& op, PyObject* args, Call& call) {
  const auto count = static_cast<size_t>(PyTuple_GET_SIZE(args));
  for (size_t i = 0; i < std::min(count, op.kinds.size()); ++i) {
    PyObject* value = PyTuple_GET_ITEM(args, static_cast<Py_ssize_t>(i));
    const bool written = op.writes && is_written(op, i);
    bool noted = false;
    switch (op.kinds[i]) {
      case Kind::tensor:
        if (value == Py_None) {
          call.key.push_back(kNone);
          noted = true;
        } else if (note_number(value, call)) {
          noted = true;
        } else if (PyBool_Check(value) || PyComplex_CheckExact(value)) {
          noted = note_other(value, call);
        } else {
          if (written) call.written.push_back(call.reads.size());
          call.key.push_back(kTensor);
          noted = note_tensor(value, call);
        }
        break;
      case Kind::tensors:
        noted = note_list(value, written, call);
        break;
      case Kind::number:
        noted = note_number(value, call) || note_other(value, call);
        break;
      case Kind::generator:
        noted = value == Py_None;
        break;
      case Kind::nested:
        break;
      case Kind::other:
        noted = note_other(value, call);
    }
    if (!noted) return false;
  }
  return true;
}

bool Way::note_named(const Op& op, PyObject* kwargs, Call& call) {
  if (kwargs == nullptr) return true;
  PyObject *name, *value;
  Py_ssize_t at = 0;
  while (PyDict_Next(kwargs, &at, &name, &value)) {
    size_t place = 0;
    while (place < op.named.size() &&
           PyUnicode_CompareWithASCIIString(name, op.named[place].first.c_str()) != 0)
      ++place;
    if (place == op.named.size()) return false;
    call.key.push_back(kName);
    call.key.push_back(place);
    const Kind kind = op.named[place].second;
    const bool number = kind == Kind::number && note_number(value, call);
    const bool other = kind == Kind::number || kind == Kind::other || value == Py_None;
    if (!number && !(other && note_other(value, call))) return false;
  }
  return true;
}

bool Way::note_list(PyObject* list, bool written, Call& call) {
  if (!PyList_CheckExact(list)) return false;
  call.key.push_back(kList);
  call.key.push_back(static_cast<uint64_t>(PyList_GET_SIZE(list)));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i) {
    const Ref each = borrow(PyList_GET_ITEM(list, i));
    if (each.is_none() && written) return false;
    call.key.push_back(each.is_none() ? kNone : kTensor);
    if (written) call.written.push_back(call.reads.size());
    if (!each.is_none() && !note_tensor(each.ptr(), call)) return false;
  }
  return true;
}

bool Way::note_number(PyObject* value, Call& call) {
  uint64_t bits;
  if (PyFloat_CheckExact(value)) {
    const double number = PyFloat_AS_DOUBLE(value);
    std::memcpy(&bits, &number, sizeof bits);
    call.key.push_back(kFloat);
  } else if (PyLong_CheckExact(value)) {
    int overflow;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) return false;
    bits = static_cast<uint64_t>(number);
    call.key.push_back(kInteger);
  } else {
    return false;
  }
  call.numbers.push_back(bits);
  return true;
}

bool Way::note_other(PyObject* value, Call& call) {
  Words& key = call.key;
  if (value == Py_None || PyBool_Check(value)) {
    key.push_back(value == Py_None ? kNone : value == Py_True ? kTrue : kFalse);
    return true;
  }
  uint64_t number;
  if (!PyList_CheckExact(value)) {
    if (torch_state::is_tensor(value) || !intern(value, number)) return false;
    key.push_back(kOther);
    key.push_back(number);
    return true;
  }
  const size_t begin = key.size();
  key.push_back(kIntegers);
  key.push_back(static_cast<uint64_t>(PyList_GET_SIZE(value)));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value); ++i) {
    PyObject* each = PyList_GET_ITEM(value, i);
    int overflow = 1;
    const long long item =
        PyLong_CheckExact(each) ? PyLong_AsLongLongAndOverflow(each, &overflow) : 0;
    if (overflow != 0) {  // other things than integers
      key.resize(begin);
      if (!intern(own(PyList_AsTuple(value)).ptr(), number)) return false;
      key.push_back(kOther);
      key.push_back(number);
      return true;
    }
    key.push_back(static_cast<uint64_t>(item));
  }
  return true;
}

// Numbers values that are equal in Python. Returns false for those that cannot be hashed.
bool Way::intern(PyObject* value, uint64_t& number) {
  PyObject* known = PyDict_GetItemWithError(interned_.ptr(), value);
  if (known == nullptr && PyErr_Occurred() != nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    return false;
  }
  if (known != nullptr) {
    number = static_cast<uint64_t>(integer(known));
    return true;
  }
  number = static_cast<uint64_t>(PyDict_GET_SIZE(interned_.ptr()));
  const Ref made = own(PyLong_FromUnsignedLongLong(number));
  check(PyDict_SetItem(interned_.ptr(), value, made.ptr()) == 0);
  return true;
}

}  // namespace nondet::trace
