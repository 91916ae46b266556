// What is noted of an operation before it runs.
#include "bindings/cpu/trace_way.h"

#include <iterator>

#include "bindings/cpu/direct_fingerprint.h"
#include "bindings/torch_state.h"

namespace nondet::trace {
namespace {

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
