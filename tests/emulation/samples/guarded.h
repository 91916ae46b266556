// Wraps calls from ctypes: returns the message of an exception, or null on success.
#pragma once

#include <exception>
#include <string>

namespace pybind11 {
class module_;
}

template <class F>
const char* guarded(F call) {
  static std::string message;
  try {
    call();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}
