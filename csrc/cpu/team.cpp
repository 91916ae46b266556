#include "team.h"

#include <dlfcn.h>
#include <pthread.h>

namespace nondet::cpu {
namespace {

Team current;  // written while modules are imported, and in children that are forked

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

Team team() { return current; }

bool use_team(const char* library) {
  if (*library == 0) {
    current = {};
    return false;
  }
  void* const loaded = dlopen(library, RTLD_NOLOAD | RTLD_LAZY);  // held for ever
  Team found;
  if (loaded == nullptr || !find(loaded, "GOMP_parallel", found.parallel) ||
      !find(loaded, "omp_get_thread_num", found.number) ||
      !find(loaded, "omp_get_num_threads", found.size))
    return false;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { current = {}; });
  if (registered != 0) return false;
  current = found;
  return true;
}

}  // namespace nondet::cpu
