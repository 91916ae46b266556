// Where a record stands in the source, the modules and the backward pass.
#pragma once

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bindings/cpu/trace_objects.h"

namespace nondet::trace {

inline constexpr int64_t kNoLine = -1;

// The innermost line that is neither torch's nor Python's, and the innermost one of the script's
// own files, which may be the same.
struct Lines {
  int64_t line = kNoLine, user = kNoLine;

  // The line of the script that led to that of a library.
  int64_t caller() const { return user == line ? kNoLine : user; }
};

// Where an operation stands. module is a number. training: 1, 0, or -1 where there is none.
struct Where {
  Lines lines;
  int64_t module = 0;
  int training = -1;
};

// The place of a record. outer: in a backward pass, the lines that called it.
struct Place : Where {
  bool backward = false;
  Lines outer;
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

// Where the operations stand that made the nodes of autograd, by the number of the node. One block
// of memory holds all: many small ones, which live for thousands of steps, would lie between the
// tensors of these steps, and the memory of freed tensors could not be joined for larger ones.
class Nodes {
 public:
  size_t size() const { return ordered_.size(); }
  // Returns null if the number is not known.
  const Where* find(uint64_t number) const;
  // Leaves what is there. Numbers of a thread increase, so the end is where most are added.
  void add(uint64_t number, const Where& where);
  // Drops those with a smaller number than `first`.
  void forget_before(uint64_t first);

 private:
  std::vector<std::pair<uint64_t, Where>> ordered_;
};

struct Maps {
  std::unordered_map<Instruction, int64_t, InstructionHash> lines;
  Nodes nodes;
  std::unordered_map<PyObject*, std::pair<Ref, int64_t>> parameters;  // by name
};

// Finds the places of a stream's records.
struct Places {
  PyObject_HEAD PyObject *calls, *kind_of, *add, *name_parameter, *sequence, *memories;
  Maps* maps;

  static constexpr auto references() {
    return std::array{&Places::calls,          &Places::kind_of,  &Places::add,
                      &Places::name_parameter, &Places::sequence, &Places::memories};
  }
  void destroy() { delete maps; }

  // Returns the place of what a frame calls (null: none) under a node of autograd (None: in a
  // forward pass).
  Place find(PyFrameObject* frame, PyObject* node);
  // Returns the lines that a frame stands on. with_calls: calls of modules remember those that
  // called them, which cannot change until they return.
  Lines forward(PyFrameObject* frame, bool with_calls);
  // Returns the lines of code that a backward pass calls, such as a hook or the backward of a
  // Function, and those which called the backward pass.
  std::pair<Lines, Lines> backward(PyFrameObject* frame);

 private:
  int64_t at(PyFrameObject* frame, PyCodeObject* code);
  int kind(PyCodeObject* code);
  ModuleCall* call(Py_ssize_t depth);
  int64_t parameter(PyObject* node);
};

extern PyTypeObject* places_type;

// Returns a place as Python knows it: (line, caller, module, training), and in a backward pass also
// line and caller of `outer`.
Ref to_tuple(const Place& place);

}  // namespace nondet::trace
