// Walks the frames of Python up to a person's source.
#include "bindings/cpu/trace_places.h"

#include <vector>

#include "bindings/direct_call.h"

namespace nondet::trace {

PyTypeObject* places_type;

namespace {

// Kinds of frames: of a person's code, of torch's or ours, the call of a backward pass, the call of
// a module. Python marks some code objects with them.
enum : int { kUser, kSkipped, kEngine, kCall };

// A node that accumulates a gradient has this number: it belongs to no operation.
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

uint64_t unsigned_integer(PyObject* object) {
  const unsigned long long value = PyLong_AsUnsignedLongLong(object);
  check(PyErr_Occurred() == nullptr);
  return value;
}

// Places(calls, is_skipped, add, name_parameter, sequence). calls: a list of ModuleCall.
// is_skipped: returns True for the name of a file of torch, Python or the recorder. add: returns
// the number of the line of a frame. name_parameter: returns the number of the module or parameter
// whose gradient a node accumulates. sequence: returns the number of autograd's next node.
PyObject* new_places(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *calls, *is_skipped, *add, *name_parameter, *sequence;
  if (!PyArg_ParseTuple(args, "O!OOOO:Places", &PyList_Type, &calls, &is_skipped, &add,
                        &name_parameter, &sequence))
    return nullptr;
  auto* self = reinterpret_cast<Places*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->calls = Py_NewRef(calls);
  self->is_skipped = Py_NewRef(is_skipped);
  self->add = Py_NewRef(add);
  self->name_parameter = Py_NewRef(name_parameter);
  self->sequence = Py_NewRef(sequence);
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

// places.backward(frame): the two lines.
PyObject* backward(PyObject* self, PyObject* frame) {
  PyObject* result = nullptr;
  caught([&] {
    const auto [inner, outer] = reinterpret_cast<Places*>(self)->backward(frame_of(frame));
    result = Py_BuildValue("LL", static_cast<long long>(inner), static_cast<long long>(outer));
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
    if (nodes.size() <= most) return;
    for (auto each = nodes.begin(); each != nodes.end();)
      each = each->first < first ? nodes.erase(each) : std::next(each);
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

}  // namespace

int Places::kind(PyCodeObject* code) {
  const auto found = kinds().find(code);
  if (found != kinds().end()) return found->second;
  const Ref file = own(PyObject_GetAttrString(reinterpret_cast<PyObject*>(code), "co_filename"));
  const Ref skipped = own(PyObject_CallOneArg(is_skipped, file.ptr()));
  const int made = skipped.ptr() == Py_True ? kSkipped : kUser;
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

int64_t Places::forward(PyFrameObject* innermost, bool with_calls) {
  Py_ssize_t depth = with_calls ? PyList_GET_SIZE(calls) : 0;
  int64_t line = kNoLine;
  std::vector<Ref> asked;
  for (Frame frame(innermost); frame.exists(); frame.go_back()) {
    const int what = kind(frame.code());
    if (what == kUser) {
      line = at(frame.get(), frame.code());
      break;
    }
    if (what != kCall || depth == 0) continue;
    ModuleCall* call = this->call(--depth);
    if (call->has_line) {
      line = call->line;
      break;
    }
    asked.push_back(borrow(reinterpret_cast<PyObject*>(call)));
  }
  for (const Ref& each : asked) {
    auto& call = *reinterpret_cast<ModuleCall*>(each.ptr());
    call.line = line;
    call.has_line = 1;
  }
  return line;
}

std::pair<int64_t, int64_t> Places::backward(PyFrameObject* innermost) {
  int64_t inner = kNoLine, outer = kNoLine;
  for (Frame frame(innermost); frame.exists(); frame.go_back()) {
    const int what = kind(frame.code());
    if (what == kUser && inner == kNoLine) {
      inner = at(frame.get(), frame.code());
    } else if (what == kEngine) {
      frame.go_back();
      outer = forward(frame.exists() ? frame.get() : nullptr, false);
      break;
    }
  }
  return {inner, outer};
}

Place Places::find(PyFrameObject* frame, PyObject* node) {
  static PyObject* const sequence_nr = PyUnicode_InternFromString("_sequence_nr");
  auto& nodes = maps->nodes;
  const uint64_t number = unsigned_integer(own(PyObject_CallNoArgs(sequence)).ptr()) - 1;
  const Py_ssize_t depth = PyList_GET_SIZE(calls);
  const ModuleCall* call = depth > 0 ? this->call(depth - 1) : nullptr;
  if (node == Py_None) {
    const int64_t line = forward(frame, true);
    const Where where =
        call != nullptr ? Where{line, call->name, call->training} : Where{line, 0, -1};
    nodes.insert({number, where});
    return {where.line, where.module, where.training, false, kNoLine};
  }
  auto [line, outer] = backward(frame);
  const uint64_t of = unsigned_integer(own(PyObject_CallMethodNoArgs(node, sequence_nr)).ptr());
  Where found{kNoLine, 0, -1};
  if (of == kAccumulates) {
    found.module = integer(own(PyObject_CallOneArg(name_parameter, node)).ptr());
  } else if (const auto known = nodes.find(of); known != nodes.end()) {
    found = known->second;
  }
  if (line == kNoLine) line = found.line;
  const int64_t module = call != nullptr ? call->name : found.module;
  nodes.insert({number, {line, module, found.training}});
  return {line, module, found.training, true, outer};
}

Ref to_tuple(const Place& place) {
  const auto line = static_cast<long long>(place.line);
  const auto module = static_cast<long long>(place.module);
  PyObject* training = place.training < 0 ? Py_None : place.training > 0 ? Py_True : Py_False;
  if (!place.backward) return own(Py_BuildValue("LLO", line, module, training));
  return own(Py_BuildValue("LLOL", line, module, training, static_cast<long long>(place.outer)));
}

void bind_places(py::module_& m) {
  places_type = add_type(m, {"nondet_ext._C.trace.Places", sizeof(Places), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, places_slots});
  check(PyModule_AddFunctions(m.ptr(), functions) == 0);
}

}  // namespace nondet::trace
