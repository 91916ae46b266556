#include "bindings/cpu/trace_objects.h"

#include <structmember.h>

#include <algorithm>
#include <cstddef>

#include "bindings/direct_call.h"

namespace nondet::trace {

Types types;

namespace {

// Value(kind, owner, serial, slot, version, digest=None)
PyObject* new_value(PyTypeObject* type, PyObject* args, PyObject*) {
  int kind;
  PyObject *owner, *digest = Py_None;
  Py_ssize_t serial, slot;
  long long version;
  if (!PyArg_ParseTuple(args, "iOnnL|O:Value", &kind, &owner, &serial, &slot, &version, &digest))
    return nullptr;
  auto* self = reinterpret_cast<Value*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->kind = kind;
  self->owner = Py_NewRef(owner);
  self->serial = serial;
  self->slot = slot;
  self->version = version;
  self->digest = Py_NewRef(digest);
  return reinterpret_cast<PyObject*>(self);
}

// value.seen_at(version): the same value without a digest, for a view of the tensor.
PyObject* seen_at(PyObject* self, PyObject* version) {
  const auto& value = *reinterpret_cast<Value*>(self);
  PyObject* made = nullptr;
  caught([&] {
    made = make_value(value.kind, value.owner, value.serial, value.slot, integer(version))
               .release()
               .ptr();
  });
  return made;
}

PyObject* new_memory(PyTypeObject* type, PyObject*, PyObject*) {
  auto* self = reinterpret_cast<Memory*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->alignment = 64;
  self->values = PyDict_New();
  if (self->values == nullptr) {
    Py_DECREF(self);
    return nullptr;
  }
  return reinterpret_cast<PyObject*>(self);
}

PyObject* new_position(PyTypeObject* type, PyObject*, PyObject*) {
  auto* self = reinterpret_cast<Position*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->entries = PyList_New(0);
  if (self->entries == nullptr) {
    Py_DECREF(self);
    return nullptr;
  }
  return reinterpret_cast<PyObject*>(self);
}

// position.recent(value): see above, None for other values.
PyObject* recent_of(PyObject* self, PyObject* value) {
  if (!Py_IS_TYPE(value, types.value)) {
    PyErr_SetString(PyExc_TypeError, "recent takes a Value");
    return nullptr;
  }
  const auto back = recent(*reinterpret_cast<Position*>(self), *reinterpret_cast<Value*>(value));
  if (!back) Py_RETURN_NONE;
  return PyLong_FromLongLong(*back);
}

// ModuleCall(name, training, module)
PyObject* new_call(PyTypeObject* type, PyObject* args, PyObject*) {
  Py_ssize_t name;
  int training;
  PyObject* module;
  if (!PyArg_ParseTuple(args, "npO:ModuleCall", &name, &training, &module)) return nullptr;
  auto* self = reinterpret_cast<ModuleCall*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->name = name;
  self->training = static_cast<char>(training);
  self->module = Py_NewRef(module);
  return reinterpret_cast<PyObject*>(self);
}

PyMemberDef value_members[] = {{"kind", T_INT, offsetof(Value, kind), READONLY, nullptr},
                               {"owner", T_OBJECT, offsetof(Value, owner), READONLY, nullptr},
                               {"serial", T_PYSSIZET, offsetof(Value, serial), READONLY, nullptr},
                               {"slot", T_PYSSIZET, offsetof(Value, slot), READONLY, nullptr},
                               {"version", T_LONGLONG, offsetof(Value, version), 0, nullptr},
                               {"digest", T_OBJECT, offsetof(Value, digest), 0, nullptr},
                               {nullptr, 0, 0, 0, nullptr}};
PyMethodDef value_methods[] = {{"seen_at", seen_at, METH_O, nullptr},
                               {nullptr, nullptr, 0, nullptr}};
PyType_Slot value_slots[] = {{Py_tp_new, slot(new_value)},
                             {Py_tp_members, value_members},
                             {Py_tp_methods, value_methods},
                             {Py_tp_traverse, slot(traverse<Value>)},
                             {Py_tp_clear, slot(clear<Value>)},
                             {Py_tp_dealloc, slot(dealloc<Value>)},
                             {0, nullptr}};

PyMemberDef memory_members[] = {{"weak", T_OBJECT, offsetof(Memory, weak), 0, nullptr},
                                {"values", T_OBJECT, offsetof(Memory, values), READONLY, nullptr},
                                {"device", T_OBJECT, offsetof(Memory, device), 0, nullptr},
                                {"name", T_OBJECT, offsetof(Memory, name), 0, nullptr},
                                {"alignment", T_PYSSIZET, offsetof(Memory, alignment), 0, nullptr},
                                {"tag", T_PYSSIZET, offsetof(Memory, tag), 0, nullptr},
                                {"hashed", T_BOOL, offsetof(Memory, hashed), 0, nullptr},
                                {"shared", T_BOOL, offsetof(Memory, shared), 0, nullptr},
                                {"blank", T_BOOL, offsetof(Memory, blank), 0, nullptr},
                                {nullptr, 0, 0, 0, nullptr}};
PyType_Slot memory_slots[] = {{Py_tp_new, slot(new_memory)},
                              {Py_tp_members, memory_members},
                              {Py_tp_traverse, slot(traverse<Memory>)},
                              {Py_tp_clear, slot(clear<Memory>)},
                              {Py_tp_dealloc, slot(dealloc<Memory>)},
                              {0, nullptr}};

PyMemberDef position_members[] = {
    {"entries", T_OBJECT, offsetof(Position, entries), READONLY, nullptr},
    {"serial", T_PYSSIZET, offsetof(Position, serial), 0, nullptr},
    {"begin", T_PYSSIZET, offsetof(Position, begin), 0, nullptr},
    {"before", T_PYSSIZET, offsetof(Position, before), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyMethodDef position_methods[] = {{"recent", recent_of, METH_O, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};
PyType_Slot position_slots[] = {{Py_tp_new, slot(new_position)},
                                {Py_tp_members, position_members},
                                {Py_tp_methods, position_methods},
                                {Py_tp_traverse, slot(traverse<Position>)},
                                {Py_tp_clear, slot(clear<Position>)},
                                {Py_tp_dealloc, slot(dealloc<Position>)},
                                {0, nullptr}};

PyMemberDef call_members[] = {{"name", T_PYSSIZET, offsetof(ModuleCall, name), READONLY, nullptr},
                              {"module", T_OBJECT, offsetof(ModuleCall, module), READONLY, nullptr},
                              {nullptr, 0, 0, 0, nullptr}};
PyType_Slot call_slots[] = {{Py_tp_new, slot(new_call)},
                            {Py_tp_members, call_members},
                            {Py_tp_traverse, slot(traverse<ModuleCall>)},
                            {Py_tp_clear, slot(clear<ModuleCall>)},
                            {Py_tp_dealloc, slot(dealloc<ModuleCall>)},
                            {0, nullptr}};

constexpr unsigned kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC;

}  // namespace

Ref make_value(int kind, PyObject* owner, Py_ssize_t serial, Py_ssize_t slot, long long version) {
  Ref made = own(types.value->tp_alloc(types.value, 0));
  auto& value = *reinterpret_cast<Value*>(made.ptr());
  value.kind = kind;
  value.owner = Py_NewRef(owner);
  value.serial = serial;
  value.slot = slot;
  value.version = version;
  value.digest = Py_NewRef(Py_None);
  return made;
}

std::optional<int64_t> recent(const Position& stream, const Value& value) {
  if (value.owner != reinterpret_cast<const PyObject*>(&stream)) return {};
  if (value.serial >= stream.begin)
    return (stream.serial - value.serial) * 4 + (value.kind == kRead ? 1 : 0);
  if (value.serial >= stream.before && value.kind != kRead)
    return (value.serial - stream.before) * 4 + 2;
  return {};
}

int64_t alignment_of(uint64_t address) {
  const uint64_t low = address & (~address + 1);
  return low > 0 ? static_cast<int64_t>(std::min<uint64_t>(low, 64)) : 64;
}

PyTypeObject* add_type(py::module_& m, PyType_Spec spec) {
  auto type = own(PyType_FromSpec(&spec));
  check(PyModule_AddType(m.ptr(), reinterpret_cast<PyTypeObject*>(type.ptr())) == 0);
  return reinterpret_cast<PyTypeObject*>(type.release().ptr());
}

void bind_objects(py::module_& m) {
  types.value = add_type(m, {"nondet_ext._C.trace.Value", sizeof(Value), 0, kFlags, value_slots});
  types.memory =
      add_type(m, {"nondet_ext._C.trace.Memory", sizeof(Memory), 0, kFlags, memory_slots});
  types.position = add_type(m, {"nondet_ext._C.trace.Position", sizeof(Position), 0,
                                kFlags | Py_TPFLAGS_BASETYPE, position_slots});
  types.call =
      add_type(m, {"nondet_ext._C.trace.ModuleCall", sizeof(ModuleCall), 0, kFlags, call_slots});
  m.def("alignment_of", alignment_of, py::arg("address"));
}

}  // namespace nondet::trace
