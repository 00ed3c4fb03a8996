// Fuzz target: the text of a pattern. Input: one byte of flags, the pattern, a zero byte, the choices of a walk.
#include <algorithm>

#include "fuzz/laws.hpp"

using namespace espalier;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const fuzz::Input all(data, size);
  const auto end = std::find(all.begin() + 1, all.end(), 0);
  const fuzz::Input pattern(all.begin() + 1, end), choices(end == all.end() ? end : end + 1, all.end());
  fuzz::bounded([&] {
    const Re parsed = re::parse(fuzz::text(pattern), all[0] & 1);
    const Re r = (all[0] & 6) == 6 ? re::json_string(parsed) : parsed;
    fuzz::require(re::empty(r) == re::empty(re::both(r, re::text())), "the texts of a pattern are well-formed");
    fuzz::follow(regular_machine(r), choices, true);
  });
  return 0;
}
