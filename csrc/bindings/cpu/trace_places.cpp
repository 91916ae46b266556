// Walks the frames of Python up to the script's own source.
#include "bindings/cpu/trace_places.h"

#include <algorithm>
#include <vector>

#include "bindings/direct_call.h"
#include "bindings/torch_state.h"

namespace nondet::trace {

PyTypeObject* places_type;

namespace {

// Kinds of frames: of the script's own code, of torch's or ours, the call of a backward pass, the
// call of a module, of a library's code. Python marks some code objects with them.
enum : int { kUser, kSkipped, kEngine, kCall, kLibrary };

// A node that accumulates a gradient has this number: it belongs to no operation. It also comes
// before the first node of a thread.
constexpr uint64_t kAccumulates = UINT64_MAX;

// The kinds of code objects, which are held: their addresses are theirs alone.
std::unordered_map<PyCodeObject*, int>& kinds() {
  static auto* const made = new std::unordered_map<PyCodeObject*, int>;
  return *made;
}

void mark(PyCodeObject* code, int kind) {
  const auto [found, added] = kinds().insert({code, kind});
  if (added)
    Py_INCREF(code);
  else
    found->second = kind;
}

// A frame and its code.
class Frame {
 public:
  explicit Frame(PyFrameObject* frame) : frame_(reinterpret_cast<PyObject*>(frame)) {
    Py_XINCREF(frame);
    read();
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() {
    Py_XDECREF(frame_);
    Py_XDECREF(code_);
  }
  bool exists() const { return frame_ != nullptr; }
  PyFrameObject* get() const { return reinterpret_cast<PyFrameObject*>(frame_); }
  PyCodeObject* code() const { return code_; }
  void go_back() {
    PyObject* back = reinterpret_cast<PyObject*>(PyFrame_GetBack(get()));
    Py_DECREF(frame_);
    Py_CLEAR(code_);
    frame_ = back;
    read();
  }

 private:
  void read() { code_ = frame_ != nullptr ? PyFrame_GetCode(get()) : nullptr; }
  PyObject* frame_;
  PyCodeObject* code_ = nullptr;
};

long long wide(int64_t number) { return number; }

uint64_t unsigned_integer(PyObject* object) {
  const unsigned long long value = PyLong_AsUnsignedLongLong(object);
  check(PyErr_Occurred() == nullptr);
  return value;
}

// Places(calls, kind_of, add, name_parameter, sequence, memories). calls: a list of ModuleCall.
// kind_of: returns the kind of the frames of a file. add: returns the number of the line of a
// frame. name_parameter: returns the number of the name of a parameter. sequence: returns the
// number of autograd's next node. memories: the Memory of storages by address.
PyObject* new_places(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *calls, *kind_of, *add, *name_parameter, *sequence, *memories;
  if (!PyArg_ParseTuple(args, "O!OOOOO!:Places", &PyList_Type, &calls, &kind_of, &add,
                        &name_parameter, &sequence, &PyDict_Type, &memories))
    return nullptr;
  auto* self = reinterpret_cast<Places*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->calls = Py_NewRef(calls);
  self->kind_of = Py_NewRef(kind_of);
  self->add = Py_NewRef(add);
  self->name_parameter = Py_NewRef(name_parameter);
  self->sequence = Py_NewRef(sequence);
  self->memories = Py_NewRef(memories);
  if (!caught([&] { self->maps = new Maps; })) {
    Py_DECREF(self);
    return nullptr;
  }
  return reinterpret_cast<PyObject*>(self);
}

PyFrameObject* frame_of(PyObject* object) {
  if (object == Py_None) return nullptr;
  if (!PyFrame_Check(object)) throw_type_error("a frame or None");
  return reinterpret_cast<PyFrameObject*>(object);
}

// places.find(frame, node): the place as a tuple.
PyObject* find(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "find takes frame and node");
    return nullptr;
  }
  PyObject* result = nullptr;
  caught([&] {
    auto& places = *reinterpret_cast<Places*>(self);
    result = to_tuple(places.find(frame_of(arguments[0]), arguments[1])).release().ptr();
  });
  return result;
}

// places.backward(frame): line and caller of what the pass calls, and of what called the pass.
PyObject* backward(PyObject* self, PyObject* frame) {
  PyObject* result = nullptr;
  caught([&] {
    const auto [inner, outer] = reinterpret_cast<Places*>(self)->backward(frame_of(frame));
    result = Py_BuildValue("LLLL", wide(inner.line), wide(inner.caller()), wide(outer.line),
                           wide(outer.caller()));
  });
  return result;
}

// places.forget(first, count): drops the places of nodes before `first` if there are more than
// `count`.
PyObject* forget(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "forget takes first and count");
    return nullptr;
  }
  const bool done = caught([&] {
    auto& nodes = reinterpret_cast<Places*>(self)->maps->nodes;
    const uint64_t first = unsigned_integer(arguments[0]), most = unsigned_integer(arguments[1]);
    if (nodes.size() > most) nodes.forget_before(first);
  });
  if (!done) return nullptr;
  Py_RETURN_NONE;
}

// mark(code, kind): says of what kind a code object is.
PyObject* mark_code(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2 || !PyCode_Check(arguments[0])) {
    PyErr_SetString(PyExc_TypeError, "mark takes code and kind");
    return nullptr;
  }
  const bool done = caught([&] {
    mark(reinterpret_cast<PyCodeObject*>(arguments[0]), static_cast<int>(integer(arguments[1])));
  });
  if (!done) return nullptr;
  Py_RETURN_NONE;
}

PyMethodDef places_methods[] = {{"find", fast(find), METH_FASTCALL, nullptr},
                                {"backward", backward, METH_O, nullptr},
                                {"forget", fast(forget), METH_FASTCALL, nullptr},
                                {nullptr, nullptr, 0, nullptr}};
PyType_Slot places_slots[] = {{Py_tp_new, slot(new_places)},
                              {Py_tp_methods, places_methods},
                              {Py_tp_traverse, slot(traverse<Places>)},
                              {Py_tp_clear, slot(clear<Places>)},
                              {Py_tp_dealloc, slot(dealloc<Places>)},
                              {0, nullptr}};
PyMethodDef functions[] = {{"mark", fast(mark_code), METH_FASTCALL, nullptr},
                           {nullptr, nullptr, 0, nullptr}};

// Returns the first pair whose number is at least this one.
template <typename Pairs>
auto first_from(Pairs& pairs, uint64_t number) {
  return std::lower_bound(pairs.begin(), pairs.end(), number,
                          [](const auto& pair, uint64_t other) { return pair.first < other; });
}

}  // namespace

const Where* Nodes::find(uint64_t number) const {
  const auto found = first_from(ordered_, number);
  return found != ordered_.end() && found->first == number ? &found->second : nullptr;
}

void Nodes::add(uint64_t number, const Where& where) {
  if (number == kAccumulates) return;
  if (ordered_.empty() || ordered_.back().first < number) {
    ordered_.emplace_back(number, where);
    return;
  }
  const auto found = first_from(ordered_, number);
  if (found->first != number) ordered_.insert(found, {number, where});
}

void Nodes::forget_before(uint64_t first) {
  ordered_.erase(ordered_.begin(), first_from(ordered_, first));
}

int Places::kind(PyCodeObject* code) {
  const auto found = kinds().find(code);
  if (found != kinds().end()) return found->second;
  const Ref file = own(PyObject_GetAttrString(reinterpret_cast<PyObject*>(code), "co_filename"));
  const int made = static_cast<int>(integer(own(PyObject_CallOneArg(kind_of, file.ptr())).ptr()));
  mark(code, made);
  return made;
}

ModuleCall* Places::call(Py_ssize_t depth) {
  PyObject* object = PyList_GET_ITEM(calls, depth);
  if (!Py_IS_TYPE(object, types.call)) throw_type_error("calls must be of ModuleCall");
  return reinterpret_cast<ModuleCall*>(object);
}

int64_t Places::at(PyFrameObject* frame, PyCodeObject* code) {
  const Instruction instruction{code, PyFrame_GetLasti(frame)};
  const auto found = maps->lines.find(instruction);
  if (found != maps->lines.end()) return found->second;
  const int64_t line =
      integer(own(PyObject_CallOneArg(add, reinterpret_cast<PyObject*>(frame))).ptr());
  maps->lines[instruction] = line;
  return line;
}

Lines Places::forward(PyFrameObject* innermost, bool with_calls) {
  Py_ssize_t depth = with_calls ? PyList_GET_SIZE(calls) : 0;
  Lines found;
  std::vector<Ref> asked;  // calls without lines
  size_t waiting = 0;      // the first of these that has not even the innermost
  const auto set_line = [&](int64_t line) {
    if (found.line == kNoLine) found.line = line;
    for (; waiting < asked.size(); ++waiting)
      reinterpret_cast<ModuleCall*>(asked[waiting].ptr())->line = line;
  };
  for (Frame frame(innermost); frame.exists(); frame.go_back()) {
    const int what = kind(frame.code());
    if (what == kUser) {
      found.user = at(frame.get(), frame.code());
      set_line(found.user);
      break;
    }
    if (what == kLibrary && (found.line == kNoLine || waiting < asked.size()))
      set_line(at(frame.get(), frame.code()));
    if (what != kCall || depth == 0) continue;
    ModuleCall* call = this->call(--depth);
    if (call->has_line) {
      set_line(call->line);
      found.user = call->user;
      break;
    }
    asked.push_back(borrow(reinterpret_cast<PyObject*>(call)));
  }
  set_line(kNoLine);
  for (const Ref& each : asked) {
    auto& call = *reinterpret_cast<ModuleCall*>(each.ptr());
    call.user = found.user;
    call.has_line = 1;
  }
  return found;
}

std::pair<Lines, Lines> Places::backward(PyFrameObject* innermost) {
  Lines inner, outer;
  for (Frame frame(innermost); frame.exists(); frame.go_back()) {
    const int what = kind(frame.code());
    const bool is_user = what == kUser && inner.user == kNoLine;
    if (is_user || (what == kLibrary && inner.line == kNoLine)) {
      const int64_t line = at(frame.get(), frame.code());
      if (inner.line == kNoLine) inner.line = line;
      if (is_user) inner.user = line;
    } else if (what == kEngine) {
      frame.go_back();
      outer = forward(frame.exists() ? frame.get() : nullptr, false);
      break;
    }
  }
  return {inner, outer};
}

// Returns the number of the name of the parameter whose gradient a node accumulates, 0 if it has
// none.
int64_t Places::parameter(PyObject* node) {
  static PyObject* const variable = PyUnicode_InternFromString("variable");
  static PyObject* const untyped_storage = PyUnicode_InternFromString("untyped_storage");
  static PyObject* const cdata = PyUnicode_InternFromString("_cdata");
  PyObject* const got = PyObject_GetAttr(node, variable);
  if (got == nullptr) {
    check(PyErr_ExceptionMatches(PyExc_AttributeError));
    PyErr_Clear();
    return 0;
  }
  const Ref tensor = own(got);
  PyObject* name = nullptr;
  if (torch_state::is_plain_class(reinterpret_cast<PyObject*>(Py_TYPE(got)))) {
    PyObject* const storage = PyObject_CallMethodNoArgs(got, untyped_storage);
    if (storage == nullptr) {  // of a sparse tensor, say
      check(PyErr_ExceptionMatches(PyExc_RuntimeError));
      PyErr_Clear();
    } else {
      const Ref address = own(PyObject_GetAttr(own(storage).ptr(), cdata));
      PyObject* memory = PyDict_GetItemWithError(memories, address.ptr());
      check(memory != nullptr || PyErr_Occurred() == nullptr);
      if (memory != nullptr && Py_IS_TYPE(memory, types.memory))
        name = reinterpret_cast<Memory*>(memory)->name;
    }
  }
  if (name != nullptr) {
    const auto known = maps->parameters.find(name);
    if (known != maps->parameters.end()) return known->second.second;
  }
  const Ref held = borrow(name);
  const int64_t number = integer(own(PyObject_CallOneArg(name_parameter, got)).ptr());
  if (name != nullptr) maps->parameters.insert({name, {held, number}});
  return number;
}

Place Places::find(PyFrameObject* frame, PyObject* node) {
  static PyObject* const sequence_nr = PyUnicode_InternFromString("_sequence_nr");
  auto& nodes = maps->nodes;
  const uint64_t number = unsigned_integer(own(PyObject_CallNoArgs(sequence)).ptr()) - 1;
  const Py_ssize_t depth = PyList_GET_SIZE(calls);
  const ModuleCall* call = depth > 0 ? this->call(depth - 1) : nullptr;
  Place place;
  if (node == Py_None) {
    place.lines = forward(frame, true);
    if (call != nullptr) {
      place.module = call->name;
      place.training = call->training;
    }
    nodes.add(number, place);
    return place;
  }
  place.backward = true;
  const auto [inner, outer] = backward(frame);
  place.outer = outer;
  const uint64_t of = unsigned_integer(own(PyObject_CallMethodNoArgs(node, sequence_nr)).ptr());
  if (of == kAccumulates) {
    place.module = parameter(node);
  } else if (const Where* known = nodes.find(of); known != nullptr) {
    static_cast<Where&>(place) = *known;
  }
  if (inner.line != kNoLine) place.lines = inner;
  if (call != nullptr) place.module = call->name;
  nodes.add(number, place);
  return place;
}

Ref to_tuple(const Place& place) {
  const long long line = wide(place.lines.line), caller = wide(place.lines.caller()),
                  module = wide(place.module);
  PyObject* training = place.training < 0 ? Py_None : place.training > 0 ? Py_True : Py_False;
  if (!place.backward) return own(Py_BuildValue("LLLO", line, caller, module, training));
  return own(Py_BuildValue("LLLOLL", line, caller, module, training, wide(place.outer.line),
                           wide(place.outer.caller())));
}

void bind_places(py::module_& m) {
  places_type = add_type(m, {"nondet_ext._C.trace.Places", sizeof(Places), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, places_slots});
  check(PyModule_AddFunctions(m.ptr(), functions) == 0);
}

}  // namespace nondet::trace
