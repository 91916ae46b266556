// Lets Python's signal handlers run during a kernel, so that Ctrl-C ends it.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>

#include "cpu/interruption.h"

namespace nondet {

// The identifier of Python's main thread, the only one in which it runs signal handlers; 0 before
// watch_signals().
inline std::atomic<unsigned long> main_thread{0};

// Finds out which thread is the main thread. Called once, when the module is imported.
inline void watch_signals() {
  namespace py = pybind11;
  main_thread =
      py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  const auto os = py::module_::import("os");
  // The thread that forks is the main thread of the child.
  if (py::hasattr(os, "register_at_fork"))
    os.attr("register_at_fork")(py::arg("after_in_child") = py::cpp_function(
                                    [] { main_thread = PyThread_get_thread_ident(); }));
}

// Runs the handlers of the signals that have arrived, and throws what they raise.
inline void run_signal_handlers() {
  const pybind11::gil_scoped_acquire locked;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

// A call that a signal handler can end. In other threads than the main thread nobody is asked: they
// would wait for Python's global lock, and for nothing.
struct Answering : cpu::Interruptible {
  Answering()
      : Interruptible(PyThread_get_thread_ident() == main_thread ? run_signal_handlers : nullptr) {}
};

}  // namespace nondet
