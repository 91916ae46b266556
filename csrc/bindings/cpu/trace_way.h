// The short way of an operation through the recorder: what it reads is known already, it draws no
// random numbers, and nothing watches. Other operations go the long way, through Python
// (python/nondet/tracing/record/dispatch.py), which makes the same records.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bindings/cpu/trace_places.h"
#include "bindings/dlpack.h"

namespace nondet::trace {

using Words = std::vector<uint64_t>;

struct WordsHash {
  size_t operator()(const Words& words) const {
    uint64_t hash = words.size();
    for (const uint64_t word : words) {
      hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    }
    return static_cast<size_t>(hash);
  }
};

// Kinds of arguments, numbered as in python/nondet/tracing/record/operators.py.
enum class Kind { tensor, tensors, nested, number, generator, other };

// What is known of an operation, see `Operator` in the same file.
struct Op {
  Ref object, call;
  uint64_t number = 0;
  bool is_recorded = false, was_met = false, is_short = false;
  bool writes = false, unread = false, view = false, blank = false;
  std::vector<Kind> kinds;
  std::vector<std::pair<std::string, Kind>> named;
  std::vector<size_t> written;
};

// All of a tensor but its memory and values: a Layout of Python's table.
struct Shape {
  Ref object, number;
  int64_t index, elements, itemsize, bytes;
};

// A tensor among arguments or results. `value`: what it holds; null where that is not known or not
// read.
struct Seen {
  Ref tensor, storage, address, key, value;
  Ref memory_object;  // null where the storage is new
  const Shape* shape;
  int64_t offset;
  long long version;
  dlpack::Tensor dense;

  Memory* memory() const { return reinterpret_cast<Memory*>(memory_object.ptr()); }
  Value* held() const { return reinterpret_cast<Value*>(value.ptr()); }
};

// A tensor that a record writes, see `Written` in tensors.py; -1 for None.
struct Write {
  int64_t shape, tag;
  bool hashed;
  int64_t into, view_of;
};

// An operation under way.
struct Call {
  Words key, numbers;
  std::vector<Seen> reads;
  std::vector<size_t> written;
  size_t unread = 0;  // so many of the first reads are not read
  std::vector<Write> writes;

  void clear() {
    key.clear();
    numbers.clear();
    reads.clear();
    written.clear();
    writes.clear();
    unread = 0;
  }
};

// What C++ holds of Python's recorder.
enum class Link : size_t {
  recorder,    // has settings
  describe,    // Recorder.describe
  stream,      // a Position
  end_part,    // Stream.end_part
  digests,     // of the stream: has `values` and `addresses`
  streams,     // the list of all streams of the session
  finish,      // Shared.finish
  memories,    // the dict of memories by address
  pattern,     // a Memory like those that torch allocates on the CPU
  add_layout,  // Table.add_layout
  tensors,     // Tensors
  find,        // returns the Operator of a function of torch, or something else
  places,      // Places
  node,        // returns the node of autograd that runs, or None
  functions,   // returns how many torch function modes are active
  numbers,     // the dict of the numbers of dtypes in fingerprints
  written,     // the class Written
  count
};

class Way {
 public:
  // short_way: False sends everything the long way. part: how many records a part of a step has.
  Way(const py::dict& links, bool short_way, Py_ssize_t part);

  // Returns true for a function that is not recorded, from its second call on: Python announces it.
  bool passes(PyObject* function);
  // Returns the operation if it may go the short way, else null. Notes its arguments in `call`.
  const Op* before(PyObject* function, PyObject* args, PyObject* kwargs, Call& call);
  // Adds the record of an operation that returned.
  void after(const Op& op, Call& call, PyObject* args, PyObject* kwargs, PyObject* out);

  // Gives the notes of an operation, to be given back.
  std::unique_ptr<Call> take();
  void give(std::unique_ptr<Call> call);

  PyObject* link(Link which) const { return links_[static_cast<size_t>(which)].ptr(); }
  int visit(visitproc visitor, void* arg) const;

 private:
  Op& find(PyObject* function);
  bool is_unchanged(const Seen& seen) const;
  bool note_arguments(const Op& op, PyObject* args, Call& call);
  bool note_named(const Op& op, PyObject* kwargs, Call& call);
  bool note_list(PyObject* list, bool written, Call& call);
  bool note_tensor(PyObject* tensor, Call& call);
  bool note_number(PyObject* value, Call& call);
  bool note_other(PyObject* value, Call& call);
  bool intern(PyObject* value, uint64_t& number);
  bool is_read(const Op& op, Call& call, size_t number);
  void finish_written(const Call& call);
  bool look(PyObject* tensor, Seen& seen);
  const Shape& shape_of(PyObject* tensor, const dlpack::Tensor& dense);
  void note_sources(const Op& op, Call& call);
  void results(const Op& op, Call& call, PyObject* out);
  void result(const Op& op, Call& call, PyObject* tensor);
  void write(Call& call, size_t number);
  bool make_fresh(Seen& seen);
  void hash(const Seen& seen, PyObject* value);
  void result_of_python(const Op& op, Call& call, PyObject* tensor);
  py::list written_by_python(const Call& call) const;
  void add_python_writes(Call& call, const py::list& writes);
  template <class... Arguments>
  Ref call(Link which, PyObject* method, const Arguments&... arguments) const {
    PyObject* stack[] = {link(which), arguments.ptr()...};
    return own(PyObject_VectorcallMethod(method, stack, std::size(stack), nullptr));
  }
  void append_value(PyObject* number);
  Py_ssize_t entry_of(const Op& op, Call& call, const Place& place, PyObject* settings,
                      PyObject* args, PyObject* kwargs);
  void add(Py_ssize_t entry);
  Position& stream() const { return *reinterpret_cast<Position*>(link(Link::stream)); }

  std::array<Ref, static_cast<size_t>(Link::count)> links_;
  const bool short_way_;
  const Py_ssize_t part_;
  Ref interned_, script_object_, settings_;
  uint64_t settings_number_ = 0;
  std::unordered_map<PyObject*, Op> ops_;
  std::unordered_map<Words, Shape, WordsHash> shapes_;
  std::unordered_map<Words, Py_ssize_t, WordsHash> entries_;
  std::vector<std::unique_ptr<Call>> calls_;
  Words shape_key_;
};

// Interned names of attributes and methods.
struct Names {
  PyObject *untyped_storage, *cdata, *storage_offset, *version, *weak_ref, *settings, *values,
      *addresses, *digests, *dtype, *source, *result, *write, *hash;
};
const Names& names();

}  // namespace nondet::trace
