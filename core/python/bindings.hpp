// What each part of the engine adds to the Python module espalier._grammar, and what they share.
#pragma once
#include <nanobind/nanobind.h>

#include "masks/guide.hpp"

namespace espalier {
void bind_engine(nanobind::module_&);  // machines and guides
void bind_expressions(nanobind::module_&);
void bind_cfg(nanobind::module_&);    // context-free grammars
void bind_masks(nanobind::module_&);  // vocabularies and token masks
void bind_json(nanobind::module_&);   // JSON Schema machines

// An expression as Python holds it: with the generation that it belongs to.
struct Expression {
  std::shared_ptr<Generation> home;
  Re re;
  bool operator==(const Expression&) const = default;
};

// The same in this generation; takes the locks of both, one after the other.
Re brought(const Expression&, const std::shared_ptr<Generation>& home);
std::shared_ptr<Machine> brought(const std::shared_ptr<Machine>&, const std::shared_ptr<Generation>& home);

inline std::string_view view(const nanobind::bytes& b) { return {static_cast<const char*>(b.data()), b.size()}; }
inline nanobind::bytes to_bytes(std::string_view s) { return nanobind::bytes(s.data(), s.size()); }

constexpr State kEnded = 0xffffffffu;                   // after an end token
nanobind::object position(Position);                    // None if there is none
Position begun(Guide&);                                 // the beginning of a text; gives up the GIL
Matcher& life(const Guide&, const Position&);           // throws GrammarError for a state of another guide
const Position& state(const Guide&, nanobind::handle);  // the same for what is no state

}  // namespace espalier
