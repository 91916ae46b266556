// What is noted of an operation before it runs.
#include "bindings/cpu/trace_way.h"

#include <cstring>

#include "bindings/cpu/direct_fingerprint.h"
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

constexpr const char* kLinkNames[] = {"recorder", "describe", "stream",   "end_part", "digests",
                                      "streams",  "finish",   "memories", "pattern",  "add_layout",
                                      "tensors",  "find",     "places",   "node",     "functions",
                                      "numbers",  "written"};
static_assert(std::size(kLinkNames) == static_cast<size_t>(Link::count));

bool flag(PyObject* object, const char* name) {
  const int value = PyObject_IsTrue(own(PyObject_GetAttrString(object, name)).ptr());
  check(value >= 0);
  return value == 1;
}

// So many notes are kept for later operations.
constexpr size_t kMostCalls = 4;

Kind kind_of(PyObject* number) { return static_cast<Kind>(integer(number)); }

// Reads what Python knows of an operation.
void fill(Op& op, const Ref& object) {
  op.object = object;
  op.is_recorded = PyObject_HasAttrString(object.ptr(), "kinds");
  if (!op.is_recorded) return;
  op.is_short = flag(object.ptr(), "simple");
  op.call = object.attr("call");
  op.number = object.attr("number").cast<uint64_t>();
  op.writes = flag(object.ptr(), "writes");
  op.unread = flag(object.ptr(), "unread");
  op.view = flag(object.ptr(), "view");
  op.blank = flag(object.ptr(), "blank");
  for (const py::handle each : object.attr("kinds")) op.kinds.push_back(kind_of(each.ptr()));
  for (const py::handle each : object.attr("written")) op.written.push_back(each.cast<size_t>());
  for (const auto [name, kind] : py::dict(object.attr("named")))
    op.named.emplace_back(name.cast<std::string>(), kind_of(kind.ptr()));
}

bool is_written(const Op& op, size_t position) {
  for (const size_t each : op.written)
    if (each == position) return true;
  return false;
}

// Clears the exception of a tensor that has no storage of its own. Other exceptions are thrown.
void clear_unsupported() {
  if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) throw py::error_already_set();
  PyErr_Clear();  // NotImplementedError is a RuntimeError too
}

}  // namespace

const Names& names() {
  const auto make = [](const char* name) { return PyUnicode_InternFromString(name); };
  static const Names made{make("untyped_storage"), make("_cdata"),    make("storage_offset"),
                          make("_version"),        make("_weak_ref"), make("settings"),
                          make("values"),          make("addresses"), make("digests"),
                          make("dtype"),           make("source"),    make("result"),
                          make("write"),           make("hash")};
  return made;
}

Way::Way(const py::dict& links, bool short_way, Py_ssize_t part)
    : short_way_(short_way), part_(part) {
  for (size_t i = 0; i < links_.size(); ++i) links_[i] = links[kLinkNames[i]];
  if (!PyObject_TypeCheck(link(Link::stream), types.position) ||
      !Py_IS_TYPE(link(Link::pattern), types.memory) ||
      !Py_IS_TYPE(link(Link::places), places_type) || !PyDict_CheckExact(link(Link::memories)) ||
      !PyDict_CheckExact(link(Link::numbers)) || !PyList_CheckExact(link(Link::streams)))
    throw_type_error("links of other types");
  interned_ = own(PyDict_New());
  calls_.reserve(kMostCalls);
}

int Way::visit(visitproc visit, void* arg) const {
  for (const Ref& each : links_) Py_VISIT(each.ptr());
  Py_VISIT(interned_.ptr());
  Py_VISIT(settings_.ptr());
  for (const auto& [function, op] : ops_) Py_VISIT(op.object.ptr());
  return 0;
}

std::unique_ptr<Call> Way::take() {
  if (calls_.empty()) return std::make_unique<Call>();
  auto call = std::move(calls_.back());
  calls_.pop_back();
  return call;
}

void Way::give(std::unique_ptr<Call> call) {
  call->clear();
  if (calls_.size() < kMostCalls) calls_.push_back(std::move(call));
}

Op& Way::find(PyObject* function) {
  const auto known = ops_.find(function);
  if (known != ops_.end()) return known->second;
  Op op;
  fill(op, own(PyObject_CallOneArg(link(Link::find), function)));  // holds the function
  return ops_.emplace(function, std::move(op)).first->second;
}

bool Way::passes(PyObject* function) {
  Op& op = find(function);
  const bool met = op.was_met;
  op.was_met = true;
  return met && !op.is_recorded;
}

const Op* Way::before(PyObject* function, PyObject* args, PyObject* kwargs, Call& call) {
  if (!short_way_) return nullptr;
  const Op& op = find(function);
  if (!op.is_short) return nullptr;
  if (integer(own(PyObject_CallNoArgs(link(Link::functions))).ptr()) != 0) return nullptr;
  call.key.push_back(op.number);
  if (!note_arguments(op, args, call) || !note_named(op, kwargs, call)) return nullptr;
  if (op.unread && PyTuple_GET_SIZE(args) > 0)
    call.unread = op.kinds[0] == Kind::tensors
                      ? static_cast<size_t>(PyList_GET_SIZE(PyTuple_GET_ITEM(args, 0)))
                      : 1;
  for (size_t i = 0; i < call.reads.size(); ++i)
    if (!is_read(op, call, i)) return nullptr;
  if (!call.written.empty()) finish_written(call);
  return &op;
}

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

bool Way::note_tensor(PyObject* tensor, Call& call) {
  call.reads.emplace_back();
  return look(tensor, call.reads.back()) && call.reads.back().memory_object;
}

// Returns true if the read is known, so that nothing of it must be hashed.
bool Way::is_read(const Op& op, Call& call, size_t number) {
  Seen& seen = call.reads[number];
  const Memory& memory = *seen.memory();
  if (memory.shared) return false;
  if (number < call.unread) return true;
  if (memory.blank && !op.view) return false;
  PyObject* value = PyDict_GetItemWithError(memory.values, seen.key.ptr());
  check(value != nullptr || PyErr_Occurred() == nullptr);
  if (value == nullptr || !Py_IS_TYPE(value, types.value)) return false;
  seen.value = borrow(value);
  seen.version = -1;
  if (seen.held()->version < 0) return true;
  seen.version = integer(own(PyObject_GetAttr(seen.tensor.ptr(), names().version)).ptr());
  if (seen.held()->version == seen.version) return true;
  if (!is_unchanged(seen)) return false;  // Python hashes it, or says that it changed
  seen.held()->version = seen.version;
  return true;
}

// Returns true if a tensor has the digest that it had, though torch has counted changes since: it
// counts those of an operation in place after the record.
bool Way::is_unchanged(const Seen& seen) const {
  const Ref held = borrow(seen.held()->digest);
  if (seen.shape->bytes == 0 || !seen.memory()->hashed || !PyLong_Check(held.ptr())) return false;
  const auto digest = fingerprint_small(seen.tensor.ptr(), link(Link::numbers));
  return digest && *digest == PyLong_AsUnsignedLongLong(held.ptr());
}

// Lets Python compute the digests that wait for memory which is about to change.
void Way::finish_written(const Call& call) {
  const Ref addresses = own(PySet_New(nullptr));
  for (const size_t number : call.written)
    check(PySet_Add(addresses.ptr(), call.reads[number].address.ptr()) == 0);
  PyObject* streams = link(Link::streams);
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(streams); ++i) {
    const Ref digests = own(PyObject_GetAttr(PyList_GET_ITEM(streams, i), names().digests));
    const Ref waiting = own(PyObject_GetAttr(digests.ptr(), names().addresses));
    if (PySet_Size(waiting.ptr()) == 0) continue;
    own(PyObject_CallOneArg(link(Link::finish), addresses.ptr()));
    return;
  }
}

// Returns false for objects other than plain tensors with a storage of their own.
bool Way::look(PyObject* tensor, Seen& seen) {
  const Names& name = names();
  if (!torch_state::describe(tensor, seen.dense)) return false;
  seen.tensor = borrow(tensor);
  PyObject* storage = PyObject_CallMethodNoArgs(tensor, name.untyped_storage);
  if (storage == nullptr) {
    clear_unsupported();
    return false;
  }
  seen.storage = own(storage);
  seen.address = own(PyObject_GetAttr(storage, name.cdata));
  PyObject* memory = PyDict_GetItemWithError(link(Link::memories), seen.address.ptr());
  check(memory != nullptr || PyErr_Occurred() == nullptr);
  if (memory != nullptr && !Py_IS_TYPE(memory, types.memory)) return false;
  seen.memory_object = borrow(memory);
  seen.offset = integer(own(PyObject_CallMethodNoArgs(tensor, name.storage_offset)).ptr());
  seen.shape = &shape_of(tensor, seen.dense);
  seen.key = seen.shape->number;
  if (seen.offset != 0)
    seen.key = own(Py_BuildValue("OL", seen.key.ptr(), static_cast<long long>(seen.offset)));
  return true;
}

const Shape& Way::shape_of(PyObject* tensor, const dlpack::Tensor& dense) {
  Words& key = shape_key_;
  const dlpack::Type& type = dense.dtype;
  key.clear();
  key.push_back(type.code | uint64_t{type.bits} << 8 | uint64_t{type.lanes} << 16);
  if (usual_number(type) < 0)
    key.push_back(reinterpret_cast<uint64_t>(own(PyObject_GetAttr(tensor, names().dtype)).ptr()));
  for (int d = 0; d < dense.ndim; ++d) {
    key.push_back(static_cast<uint64_t>(dense.shape[d]));
    key.push_back(static_cast<uint64_t>(dense.strides[d]));
  }
  const auto known = shapes_.find(key);
  if (known != shapes_.end()) return known->second;
  const Words held = key;  // what follows may come here again
  const Ref object = own(PyObject_CallOneArg(link(Link::add_layout), tensor));
  const auto get = [&](const char* name) { return object.attr(name).cast<int64_t>(); };
  const Shape shape{object,          object.attr("number"), get("number"),
                    get("elements"), get("itemsize"),       get("bytes")};
  return shapes_.emplace(held, shape).first->second;
}

}  // namespace nondet::trace
