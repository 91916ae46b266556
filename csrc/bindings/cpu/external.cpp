// Ranks of vectors that do not fit in memory, in nondet_ext._C.cpu.
#include "cpu/external.h"

#include "bindings/arguments.h"

namespace nondet {

void bind_cpu_external(py::module_& m) {
  m.def(
      "external_count",
      [](DType dtype, bool wide, int64_t root, uintptr_t codes, uintptr_t leaves, uintptr_t x,
         int64_t n, uintptr_t slots) {
        const cpu::Tree tree{dtype, wide, root, pointer<int64_t>(codes), pointer(leaves)};
        return cpu::external_count(tree, pointer(x), n, pointer(slots));
      },
      kw_only(), arg("dtype"), arg("wide"), arg("root"), arg("codes"), arg("leaves"), arg("x"),
      arg("n"), arg("slots"), Unlocked());
  m.def(
      "external_finish",
      [](bool wide, uintptr_t leaves, int64_t nodes, uintptr_t below, int64_t total) {
        cpu::external_finish(wide, pointer(leaves), nodes, pointer<int64_t>(below), total);
      },
      kw_only(), arg("wide"), arg("leaves"), arg("nodes"), arg("below"), arg("total"), Unlocked());
  m.def(
      "external_classify",
      [](DType dtype, bool wide, int64_t root, uintptr_t codes, uintptr_t leaves, uintptr_t x,
         int64_t n, uintptr_t out, uintptr_t group, uintptr_t members) {
        const cpu::Tree tree{dtype, wide, root, pointer<int64_t>(codes), pointer(leaves)};
        cpu::external_classify(tree, pointer(x), n, pointer(out), pointer<uint32_t>(group),
                               pointer<int64_t>(members));
      },
      kw_only(), arg("dtype"), arg("wide"), arg("root"), arg("codes"), arg("leaves"), arg("x"),
      arg("n"), arg("out"), arg("group"), arg("members"), Unlocked());
  m.def(
      "external_scatter",
      [](DType dtype, uintptr_t x, int64_t n, uintptr_t group, uintptr_t cursor, uintptr_t keys) {
        cpu::external_scatter(dtype, pointer(x), n, pointer<uint32_t>(group),
                              pointer<int64_t>(cursor), pointer(keys));
      },
      kw_only(), arg("dtype"), arg("x"), arg("n"), arg("group"), arg("cursor"), arg("keys"),
      Unlocked());
  m.def(
      "external_gather",
      [](bool wide, int64_t n, uintptr_t group, uintptr_t cursor, uintptr_t ranks, uintptr_t out) {
        cpu::external_gather(wide, n, pointer<uint32_t>(group), pointer<int64_t>(cursor),
                             pointer(ranks), pointer(out));
      },
      kw_only(), arg("wide"), arg("n"), arg("group"), arg("cursor"), arg("ranks"), arg("out"),
      Unlocked());
  m.def(
      "external_ranks",
      [](DType dtype, bool wide, uintptr_t keys, int64_t m, uintptr_t items, uintptr_t starts,
         uintptr_t below, int64_t parts, int64_t total) {
        cpu::external_ranks(dtype, wide, pointer(keys), m, pointer(items), pointer<int64_t>(starts),
                            pointer<int64_t>(below), parts, total);
      },
      kw_only(), arg("dtype"), arg("wide"), arg("keys"), arg("m"), arg("items"), arg("starts"),
      arg("below"), arg("parts"), arg("total"), Unlocked());
}

}  // namespace nondet
