#include "base/arch.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "base/isa_rows.h"
#include "check.h"
#include "elementwise/elementwise.h"

namespace sixloop {
namespace {

// What is chosen for another machine than this one, if this build has that machine's files.
template <class Kind, class T>
std::string chosen(Isa isa) {
  return select_row<Kind, T>(arch_of(isa)).name;
}

bool in_this_build(Isa isa) { return Arch{kIsasInThisBuild}.has(isa); }

TEST(an_isa_implies_what_it_is_built_upon) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    CHECK(arch_of(isa).has(isa));
    CHECK(arch_of(isa).has(Isa::scalar));
    CHECK(best_isa(arch_of(isa)) == isa);
  }
  CHECK(arch_of(Isa::avx512).has(Isa::avx2));
  CHECK(!arch_of(Isa::avx2).has(Isa::avx512));
  CHECK(!arch_of(Isa::avx2).has(Isa::neon));
  CHECK(!arch_of(Isa::neon).has(Isa::avx2));
}

TEST(selection_is_a_pure_function_of_the_arch) {
  CHECK_EQ((chosen<Add, float>(Isa::scalar)), "add_f32__scalar");
  CHECK_EQ((chosen<Add, double>(Isa::scalar)), "add_f64__scalar");
  if (in_this_build(Isa::neon)) {
    CHECK_EQ((chosen<Add, float>(Isa::neon)), "add_f32__neon");
    CHECK_EQ((chosen<Add, double>(Isa::neon)), "add_f64__neon");
  }
  if (in_this_build(Isa::avx2)) {
    CHECK_EQ((chosen<Add, float>(Isa::avx2)), "add_f32__avx2");
    CHECK_EQ((chosen<Add, double>(Isa::avx2)), "add_f64__avx2");
  }
  if (in_this_build(Isa::avx512)) {
    CHECK_EQ((chosen<Add, float>(Isa::avx512)), "add_f32__avx512");
    CHECK_EQ((chosen<Add, double>(Isa::avx512)), "add_f64__avx512");
  }
}

TEST(this_machine_has_scalar_and_what_it_chose) {
  CHECK(detected_arch().has(Isa::scalar));
  const auto names = available_isas();
  CHECK(std::find(names.begin(), names.end(), "scalar") != names.end());
  CHECK(std::find(names.begin(), names.end(), name_of(best_isa(detected_arch()))) != names.end());
}

TEST(set_isa_takes_what_is_there_and_names_it_otherwise) {
  const std::string before = name_of(best_isa(current_arch()));
  for (const std::string& name : available_isas()) {
    set_isa(name);
    CHECK_EQ(name_of(best_isa(current_arch())), name);
  }
  CHECK_THROWS(std::invalid_argument, "unknown instruction set \"sse9\"; valid here: scalar", set_isa("sse9"));
  for (int i = 0; i < kIsaCount; ++i) {
    if (detected_arch().has(static_cast<Isa>(i))) continue;
    CHECK_THROWS(std::invalid_argument, "valid here: scalar", set_isa(kIsaNames[i]));
  }
  set_isa("");
  CHECK_EQ(current_arch().bits, detected_arch().bits);
  set_isa(before);
}

}  // namespace
}  // namespace sixloop
