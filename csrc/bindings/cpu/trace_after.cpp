// What is noted of an operation after it ran, and its record.
#include "bindings/cpu/direct_fingerprint.h"
#include "bindings/cpu/trace_way.h"
#include "bindings/torch_state.h"

namespace nondet::trace {
namespace {

constexpr int64_t kUnread = -1;  // UNREAD of python/nondet/tracing/record/tensors.py

Ref signed_or_none(int64_t number) {
  return number < 0 ? borrow(Py_None) : own(PyLong_FromLongLong(number));
}

uint64_t word(int64_t number) { return static_cast<uint64_t>(number); }

// Returns a tensor as `Tensors` in Python knows it.
Ref to_tuple(const Seen& seen) {
  PyObject* value = seen.value ? seen.value.ptr() : Py_None;
  return own(Py_BuildValue("OOOOLOLOO", seen.tensor.ptr(), seen.memory_object.ptr(),
                           seen.shape->object.ptr(), seen.key.ptr(),
                           static_cast<long long>(seen.offset), value, seen.version,
                           seen.address.ptr(), Py_None));
}

// The version of a tensor; -1 in inference mode, where torch keeps none.
long long version_of(PyObject* tensor) {
  PyObject* version = PyObject_GetAttr(tensor, names().version);
  if (version == nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) throw py::error_already_set();
    PyErr_Clear();
    return -1;
  }
  return integer(own(version).ptr());
}

PyObject* value_at(const Memory& memory, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(memory.values, key);
  check(value != nullptr || PyErr_Occurred() == nullptr);
  return value;
}

}  // namespace

void Way::after(const Op& op, Call& call, PyObject* args, PyObject* kwargs, PyObject* out) {
  const Ref node = own(PyObject_CallNoArgs(link(Link::node)));
  const Ref frame = py::reinterpret_steal<Ref>(
      reinterpret_cast<PyObject*>(PyThreadState_GetFrame(PyThreadState_Get())));
  const Place place = reinterpret_cast<Places*>(link(Link::places))
                          ->find(reinterpret_cast<PyFrameObject*>(frame.ptr()), node.ptr());
  for (const uint64_t number : call.numbers)
    append_value(own(PyLong_FromUnsignedLongLong(number)).ptr());
  for (const int64_t each :
       {int64_t{place.backward}, place.lines.line, place.lines.user, place.module,
        int64_t{place.training}, place.outer.line, place.outer.user})
    call.key.push_back(word(each));
  note_sources(op, call);
  for (const size_t number : call.written) write(call, number);
  results(op, call, out);
  for (const Write& each : call.writes)
    for (const uint64_t part :
         {word(each.shape), word(each.tag), word(each.hashed), word(each.into), word(each.view_of)})
      call.key.push_back(part);
  const Ref settings = own(PyObject_GetAttr(link(Link::recorder), names().settings));
  add(entry_of(op, call, place, settings.ptr(), args, kwargs));
}

// Appends five words for each read.
void Way::note_sources(const Op& op, Call& call) {
  for (size_t i = 0; i < call.reads.size(); ++i) {
    const Seen& seen = call.reads[i];
    const Memory& memory = *seen.memory();
    int64_t back = kUnread, slot = 0;
    if (i >= call.unread) {
      if (const auto found = recent(stream(), *seen.held())) {
        back = *found;
        slot = seen.held()->slot;
      } else {  // of an older step or another stream: its digest stands with the record
        const Ref answer = this->call(Link::tensors, names().source, to_tuple(seen), seen.value,
                                      py::int_(stream().serial), py::int_(i), py::bool_(op.view));
        back = integer(PyTuple_GetItem(answer.ptr(), 0));
        slot = integer(PyTuple_GetItem(answer.ptr(), 1));
      }
    }
    int64_t alignment = memory.alignment;
    if (seen.offset != 0)
      alignment = alignment_of(word(alignment) | word(seen.offset * seen.shape->itemsize));
    for (const int64_t each : {seen.shape->index, int64_t{memory.tag}, back, slot, alignment})
      call.key.push_back(word(each));
  }
}

// Notes that the operation changed a tensor that it got.
void Way::write(Call& call, size_t number) {
  PyObject* tensor = call.reads[number].tensor.ptr();
  const auto into = static_cast<int64_t>(number);
  Seen seen;
  if (!look(tensor, seen) || !seen.memory_object) {
    const py::list writes = written_by_python(call);
    this->call(Link::tensors, names().write, call.reads[number].tensor, py::int_(number),
               py::int_(stream().serial), writes);
    add_python_writes(call, writes);
    return;
  }
  Memory& memory = *seen.memory();
  const PyObject* held = value_at(memory, seen.key.ptr());
  const bool uncounted = held != nullptr && reinterpret_cast<const Value*>(held)->version < 0;
  const Ref value =
      make_value(kWritten, link(Link::stream), stream().serial,
                 static_cast<Py_ssize_t>(call.writes.size()), uncounted ? -1 : version_of(tensor));
  memory.blank = 0;
  PyDict_Clear(memory.values);
  check(PyDict_SetItem(memory.values, seen.key.ptr(), value.ptr()) == 0);
  const bool hashed = memory.hashed && seen.shape->bytes > 0;
  if (hashed) hash(seen, value.ptr());
  call.writes.push_back({seen.shape->index, memory.tag, hashed, into, -1});
}

// Notes the tensors in a result.
void Way::results(const Op& op, Call& call, PyObject* out) {
  if (torch_state::is_tensor(out)) {
    result(op, call, out);
  } else if (PyTuple_Check(out) || PyList_Check(out)) {
    const Ref items = own(PySequence_Tuple(out));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.ptr()); ++i)
      results(op, call, PyTuple_GET_ITEM(items.ptr(), i));
  }
}

void Way::result(const Op& op, Call& call, PyObject* tensor) {
  for (const size_t number : call.written)
    if (call.reads[number].tensor.ptr() == tensor) return;
  Seen seen;
  if (!look(tensor, seen)) return result_of_python(op, call, tensor);
  const bool fresh = !seen.memory_object;
  if (fresh && !make_fresh(seen)) return result_of_python(op, call, tensor);
  Memory& memory = *seen.memory();
  PyObject* known = fresh ? nullptr : value_at(memory, seen.key.ptr());
  const bool uncounted = known != nullptr && reinterpret_cast<Value*>(known)->version < 0;
  const long long version = uncounted ? -1 : version_of(tensor);
  size_t base = call.reads.size();
  if (!fresh && (PyDict_GET_SIZE(memory.values) > 0 || memory.blank))
    for (base = 0; base < call.reads.size() && call.reads[base].memory() != &memory;) ++base;
  if (base < call.reads.size()) {
    const Seen& of = call.reads[base];
    PyObject* value = value_at(memory, of.key.ptr());
    // Where all of the base is in it, reads of it are reads of the base.
    if (known == nullptr && value != nullptr && seen.shape->elements >= of.shape->elements) {
      const auto& held = *reinterpret_cast<Value*>(value);
      // Torch lets a view count with its base, but only after this.
      const Ref made = make_value(held.kind, held.owner, held.serial, held.slot,
                                  of.value ? of.version : version);
      check(PyDict_SetItem(memory.values, seen.key.ptr(), made.ptr()) == 0);
    }
    call.writes.push_back({seen.shape->index, memory.tag, false, -1, static_cast<int64_t>(base)});
    return;
  }
  const Ref value = make_value(kWritten, link(Link::stream), stream().serial,
                               static_cast<Py_ssize_t>(call.writes.size()), version);
  check(PyDict_SetItem(memory.values, seen.key.ptr(), value.ptr()) == 0);
  memory.blank = op.blank;
  const bool hashed = memory.hashed && seen.shape->bytes > 0 && !op.blank;
  if (hashed) hash(seen, value.ptr());
  call.writes.push_back({seen.shape->index, memory.tag, hashed, -1, -1});
}

// Adds the memory of a storage that torch just allocated on the CPU. Returns false for others.
bool Way::make_fresh(Seen& seen) {
  const auto address = reinterpret_cast<uint64_t>(seen.dense.data) + seen.dense.byte_offset -
                       word(seen.offset * seen.shape->itemsize);
  const auto& pattern = *reinterpret_cast<Memory*>(link(Link::pattern));
  if (seen.dense.device.type != dlpack::kCpu || alignment_of(address) != pattern.alignment)
    return false;
  const Ref object = own(PyObject_CallNoArgs(reinterpret_cast<PyObject*>(types.memory)));
  auto& memory = *reinterpret_cast<Memory*>(object.ptr());
  memory.weak =
      own(PyObject_CallMethodNoArgs(seen.storage.ptr(), names().weak_ref)).release().ptr();
  memory.device = Py_XNewRef(pattern.device);
  memory.name = Py_XNewRef(pattern.name);
  memory.alignment = pattern.alignment;
  memory.tag = pattern.tag;
  memory.hashed = 1;
  check(PyDict_SetItem(link(Link::memories), seen.address.ptr(), object.ptr()) == 0);
  seen.memory_object = object;
  return true;
}

// Appends the digest of a tensor to the values: now if it is small, else Python does when it may.
void Way::hash(const Seen& seen, PyObject* value) {
  if (const auto digest = fingerprint_small(seen.tensor.ptr(), link(Link::numbers))) {
    const Ref number = own(PyLong_FromUnsignedLongLong(*digest));
    append_value(number.ptr());
    Py_SETREF(reinterpret_cast<Value*>(value)->digest, Py_NewRef(number.ptr()));
  } else {
    this->call(Link::tensors, names().hash, seen.tensor, seen.memory_object, seen.address,
               borrow(value), seen.shape->object);
  }
}

// Lets Python note a result that is no plain tensor of the CPU.
void Way::result_of_python(const Op& op, Call& call, PyObject* tensor) {
  py::list reads, written;
  for (const Seen& each : call.reads) reads.append(to_tuple(each));
  for (const size_t number : call.written) written.append(number);
  const py::list writes = written_by_python(call);
  this->call(Link::tensors, names().result, borrow(tensor), py::bool_(op.blank), reads, written,
             py::int_(stream().serial), writes);
  add_python_writes(call, writes);
}

// Returns a list as long as that of the writes: Python numbers those that it appends.
py::list Way::written_by_python(const Call& call) const {
  py::list writes;
  for (size_t i = 0; i < call.writes.size(); ++i) writes.append(py::none());
  return writes;
}

void Way::add_python_writes(Call& call, const py::list& writes) {
  const auto optional = [](const py::handle& number) {
    return number.is_none() ? int64_t{-1} : number.cast<int64_t>();
  };
  for (size_t i = call.writes.size(); i < writes.size(); ++i) {
    const auto each = writes[i].cast<py::tuple>();
    call.writes.push_back({each[0].cast<int64_t>(), each[1].cast<int64_t>(), each[2].cast<bool>(),
                           optional(each[3]), optional(each[4])});
  }
}

void Way::append_value(PyObject* number) {
  const Ref values = own(PyObject_GetAttr(link(Link::digests), names().values));
  check(PyList_Append(values.ptr(), number) == 0);
}

Py_ssize_t Way::entry_of(const Op& op, Call& call, const Place& place, PyObject* settings,
                         PyObject* args, PyObject* kwargs) {
  if (settings != settings_.ptr()) {
    if (!intern(settings, settings_number_)) throw_type_error("settings cannot be hashed");
    settings_ = borrow(settings);
  }
  call.key.push_back(settings_number_);
  const auto known = entries_.find(call.key);
  if (known != entries_.end()) return known->second;
  py::list reads, writes;
  const size_t shared = call.key.size() - 1 - 5 * (call.reads.size() + call.writes.size());
  for (size_t i = 0; i < call.reads.size(); ++i) {
    py::list read;
    for (size_t j = 0; j < 5; ++j) read.append(static_cast<int64_t>(call.key[shared + 5 * i + j]));
    reads.append(read);
  }
  for (const Write& each : call.writes)
    writes.append(own(PyObject_CallFunctionObjArgs(
        link(Link::written), py::int_(each.shape).ptr(), py::int_(each.tag).ptr(),
        py::bool_(each.hashed).ptr(), signed_or_none(each.into).ptr(),
        signed_or_none(each.view_of).ptr(), nullptr)));
  const Ref named = kwargs != nullptr ? borrow(kwargs) : own(PyDict_New());
  const Ref entry = own(PyObject_CallFunctionObjArgs(link(Link::describe), op.object.ptr(), args,
                                                     named.ptr(), trace::to_tuple(place).ptr(),
                                                     reads.ptr(), writes.ptr(), settings, nullptr));
  return entries_[call.key] = integer(entry.ptr());
}

void Way::add(Py_ssize_t entry) {
  Position& stream = this->stream();
  check(PyList_Append(stream.entries, own(PyLong_FromSsize_t(entry)).ptr()) == 0);
  ++stream.serial;
  if (PyList_GET_SIZE(stream.entries) >= part_) own(PyObject_CallNoArgs(link(Link::end_part)));
}

}  // namespace nondet::trace
