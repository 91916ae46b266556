// Where a record stands in the source, the modules and the backward pass.
#pragma once

#include <memory>
#include <unordered_map>

#include "bindings/cpu/trace_objects.h"

namespace nondet::trace {

inline constexpr int64_t kNoLine = -1;

// A place; module is a number. training: 1, 0, or -1 where there is none. outer: in a backward
// pass, the line that called it.
struct Place {
  int64_t line, module;
  int training;
  bool backward;
  int64_t outer;
};

struct Where {
  int64_t line, module;
  int training;
};

// The line that an instruction of a code object stands on.
struct Instruction {
  PyCodeObject* code;
  int at;
  bool operator==(const Instruction& other) const { return code == other.code && at == other.at; }
};

struct InstructionHash {
  size_t operator()(const Instruction& each) const {
    return (reinterpret_cast<size_t>(each.code) >> 4) * 31 + static_cast<size_t>(each.at);
  }
};

struct Maps {
  std::unordered_map<Instruction, int64_t, InstructionHash> lines;
  std::unordered_map<uint64_t, Where> nodes;
};

// Finds the places of a stream's records.
struct Places {
  PyObject_HEAD PyObject *calls, *is_skipped, *add, *name_parameter, *sequence;
  Maps* maps;

  static constexpr auto references() {
    return std::array{&Places::calls, &Places::is_skipped, &Places::add, &Places::name_parameter,
                      &Places::sequence};
  }
  void destroy() { delete maps; }

  // Returns the place of what a frame calls (null: none) under a node of autograd (None: in a
  // forward pass).
  Place find(PyFrameObject* frame, PyObject* node);
  // Returns the line of the innermost frame that is a person's. with_calls: calls of modules
  // remember the line, which cannot change until they return.
  int64_t forward(PyFrameObject* frame, bool with_calls);
  // Returns the line of a person's code that a backward pass calls, such as a hook or the backward
  // of a Function, and that which called the backward pass.
  std::pair<int64_t, int64_t> backward(PyFrameObject* frame);

 private:
  int64_t at(PyFrameObject* frame, PyCodeObject* code);
  int kind(PyCodeObject* code);
  ModuleCall* call(Py_ssize_t depth);
};

extern PyTypeObject* places_type;

// Returns a place as Python knows it: (line, module, training), with `outer` in a backward pass.
Ref to_tuple(const Place& place);

}  // namespace nondet::trace
