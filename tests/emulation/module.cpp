// The Python module of an emulated build: the functions of nondet_ext._C.cuda, and a submodule
// `emulation` that sets the schedule and returns reports.
#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "numerics/formats.h"
#include "numerics/summation.h"
#include "runtime/machine.h"
#include "runtime/translated.h"

namespace py = pybind11;

namespace nondet {
void bind_cuda(py::module_& m);
}

namespace emulation {

extern const bool kAccessesObserved;
extern const bool kTranslated;

namespace {

template <class E>
E parse(const std::string& name, E last, const char* argument) {
  std::string allowed;
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    const auto value = static_cast<E>(i);
    if (to_string(value) == name) return value;
    allowed += (i ? ", " : "") + to_string(value);
  }
  throw std::invalid_argument(std::string(argument) + ": got '" + name + "', expected one of " +
                              allowed);
}

py::dict schedule_in_effect() {
  const Schedule& schedule = machine.schedule;
  py::dict d;
  d["seed"] = schedule.seed;
  d["policy"] = to_string(schedule.policy);
  d["block_order"] = to_string(schedule.block_order);
  d["resident"] = schedule.resident;
  d["atomic_yield"] = schedule.atomic_yield;
  d["access_yield"] = schedule.access_yield;
  d["jitter"] = schedule.jitter;
  d["check_races"] = schedule.check_races;
  d["count_requests"] = schedule.count_requests;
  d["event_budget"] = schedule.event_budget;
  d["translated"] = use_translated;
  return d;
}

py::dict configure(uint64_t seed, const std::optional<std::string>& policy,
                   const std::optional<std::string>& block_order, std::optional<uint32_t> resident,
                   std::optional<double> atomic_yield, std::optional<double> access_yield,
                   std::optional<double> jitter, std::optional<bool> check_races,
                   std::optional<bool> count_requests, std::optional<uint64_t> event_budget,
                   std::optional<bool> translated) {
  const bool observed = kAccessesObserved || (kTranslated && check_races.value_or(false));
  Schedule schedule = Schedule::from_seed(seed, observed);
  if (policy) schedule.policy = parse(*policy, Policy::kHardware, "policy");
  if (schedule.policy == Policy::kHardware) {
    schedule.block_order = BlockOrder::kForward;
    schedule.resident = 16;
    schedule.atomic_yield = schedule.access_yield = 0;
  }
  if (block_order) schedule.block_order = parse(*block_order, BlockOrder::kShuffled, "block_order");
  if (resident && *resident == 0)
    throw std::invalid_argument("resident: got 0, expected at least 1");
  if (resident) schedule.resident = *resident;
  if (atomic_yield) schedule.atomic_yield = *atomic_yield;
  if (access_yield) schedule.access_yield = *access_yield;
  if (jitter && !(*jitter >= 0 && *jitter <= 1))
    throw std::invalid_argument("jitter: got " + std::to_string(*jitter) + ", expected 0 to 1");
  if (jitter) schedule.jitter = *jitter;
  if (check_races) schedule.check_races = *check_races;
  schedule.count_requests = count_requests.value_or(false);
  if (event_budget) schedule.event_budget = *event_budget;
  if (schedule.check_races && !observed)
    throw std::invalid_argument("check_races: this build does not observe memory accesses");
  if (translated.value_or(false) && !kTranslated)
    throw std::invalid_argument("translated: this build holds no kernels translated from PTX");
  // The host compiler's instructions would say nothing about a device's.
  if (schedule.count_requests && !translated.value_or(kTranslated))
    throw std::invalid_argument("count_requests: only kernels translated from PTX make requests");
  machine.schedule = schedule;
  observing = observed || schedule.count_requests;
  machine.launch_number = 0;
  use_translated = translated.value_or(kTranslated);
  return schedule_in_effect();
}

// Returns (file of the code, offset in it) of the call, not of its return address, for addr2line.
py::object code_location(const void* site) {
  Dl_info info;
  if (!site || !dladdr(site, &info)) return py::none();
  const auto offset = static_cast<const char*>(site) - static_cast<const char*>(info.dli_fbase) - 1;
  return py::make_tuple(info.dli_fname, static_cast<uint64_t>(offset));
}

py::list requests_of_launches() {
  py::list list;
  for (const LaunchRequests& launch : take_requests())
    list.append(py::make_tuple(launch.kernel, launch.loads.count, launch.loads.sectors,
                               launch.stores.count, launch.stores.sectors, launch.longest));
  return list;
}

py::list take_reports() {
  py::list list;
  for (const Report& report : machine.reports)
    list.append(py::make_tuple(report.kind, report.text, code_location(report.site),
                               code_location(report.other)));
  machine.reports.clear();
  return list;
}

py::dict take_counters() {
  const Counters c = std::exchange(machine.counters, Counters{});
  py::dict d;
  d["launches"] = c.launches;
  d["threads"] = c.threads;
  d["switches"] = c.switches;
  d["barriers"] = c.barriers;
  d["collectives"] = c.collectives;
  d["atomics"] = c.atomics;
  d["accesses"] = c.accesses;
  return d;
}

void bind_control(py::module_ m) {
  using py::arg;
  const py::none none;
  m.def("configure", &configure, arg("seed") = 0, py::kw_only(), arg("policy") = none,
        arg("block_order") = none, arg("resident") = none, arg("atomic_yield") = none,
        arg("access_yield") = none, arg("jitter") = none, arg("check_races") = none,
        arg("count_requests") = none, arg("event_budget") = none, arg("translated") = none,
        "Derives the schedule of all launches from now on from `seed`; what is given overrides it. "
        "Returns the settings in effect.");
  m.def("take_reports", &take_reports,
        "The reports since the last call: (kind, text, code location, other code location).");
  m.def(
      "set_driver", [](int version) { driver_version = version; }, arg("version"),
      "Sets what cudaDriverGetVersion returns, such as 12080.");
  m.def("take_counters", &take_counters, "What ran since the last call.");
  m.def("take_requests", &requests_of_launches,
        "The requests of global memory of each launch since the last call: (kernel, loads, their "
        "sectors, stores, their sectors, loads of the warp with most).");
  m.attr("ACCESSES_OBSERVED") = kAccessesObserved;
  m.attr("TRANSLATED") = kTranslated;
}

}  // namespace
}  // namespace emulation

PYBIND11_MODULE(emulated, m) {
  // Local types make this module independent of the build of nondet_ext._C; a DType or Order of
  // that module converts by its integer value.
  py::enum_<nondet::DType>(m, "DType", py::module_local())
      .value("float64", nondet::DType::float64)
      .value("float32", nondet::DType::float32)
      .value("float16", nondet::DType::float16)
      .value("bfloat16", nondet::DType::bfloat16);
  py::implicitly_convertible<py::object, nondet::DType>();
  py::enum_<nondet::Order>(m, "Order", py::module_local())
      .value("fixed", nondet::Order::fixed)
      .value("exact", nondet::Order::exact)
      .value("seeded", nondet::Order::seeded)
      .value("atomic", nondet::Order::atomic);
  py::implicitly_convertible<py::object, nondet::Order>();
  nondet::bind_cuda(m);
  emulation::bind_control(m.def_submodule("emulation", "Schedule and reports."));
  emulation::configure(0, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});
}
