// Masks for Python: the calls that run once per token cost as little as a call can.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "masks/successors.hpp"
#include "python/bindings.hpp"

namespace nb = nanobind;

namespace espalier {

namespace {

Position advance(GuideMasks& m, const Position& p, Token t) {
  if (!p.matcher || t >= m.trie().vocab_size()) return {};
  Matcher& matcher = life(m.guide(), p);
  if (m.is_end(t)) return matcher.accepts(p.state) ? Position{nullptr, kEnded} : Position{};
  const std::string_view bytes = m.trie().bytes(t);
  if (bytes.empty()) return {};
  const nb::gil_scoped_release release;
  const Working working(matcher, m.guide().limits().compile_ms);
  return {p.matcher, matcher.advance(p.state, bytes)};
}

bool accepts(GuideMasks& m, const Position& p) { return !p.matcher || life(m.guide(), p).accepts(p.state); }

// A mask that is known is copied with the GIL in hand: that is shorter than to give it up.
void fill(GuideMasks& m, const Position& p, std::uint32_t* out) {
  if (!p.matcher) return std::fill_n(out, m.trie().words(), 0u), void();
  Matcher& matcher = life(m.guide(), p);
  if (const void* known = matcher.kept(m.key())) {
    const Masker& masker = *static_cast<const Masker*>(known);
    if (masker.ready(p.state)) return masker.fill(p.state, out);
  }
  const nb::gil_scoped_release release;
  m.fill(m.of(matcher), p.state, out);
}

// The states that tokens lead to, each once; `which` says for each token which of them (0: it is refused). None at all
// where there are more than `most` on the way.
std::vector<Position> successors(GuideMasks& m, const Position& p, bool by_sort, std::size_t most,
                                 std::uint32_t* which) {
  std::vector<Position> found{{}};
  std::fill_n(which, m.trie().vocab_size(), 0u);
  if (!p.matcher) return found;
  Matcher& matcher = life(m.guide(), p);
  std::vector<std::uint32_t> mask(m.trie().words());
  m.fill(m.of(matcher), p.state, mask.data());
  const Working working(matcher, m.guide().limits().compile_ms);
  const std::vector<State> states = successors(matcher, m.trie(), p.state, mask, by_sort, most, which);
  if (states.empty()) return {};
  for (std::size_t i = 1; i < states.size(); ++i) found.push_back({p.matcher, states[i]});
  const auto end = static_cast<std::uint32_t>(found.size());
  for (Token t = 0; t < m.trie().vocab_size(); ++t) {
    if (m.is_end(t) && (mask[t >> 5] >> (t & 31) & 1)) which[t] = end;
    else continue;
    if (found.size() == end) found.push_back({nullptr, kEnded});
  }
  return found;
}

// What the library raises; a Cursor's calls go to Python as they are, so they raise it themselves.
struct Taught : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class Work>
auto taught(Work work) {
  try {
    return work();
  } catch (const GrammarError& error) { throw Taught(error.what()); }
}

void raise_taught(const std::exception_ptr& p, void*) {
  try {
    std::rethrow_exception(p);
  } catch (const Taught& error) {
    const nb::object raise = nb::module_::import_("espalier.constraints.guide").attr("taught");
    nb::object made = raise(nb::str(error.what()));
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  }
}

std::uint32_t* writable(const GuideMasks& m, std::uintptr_t address, std::size_t words) {
  if (words < m.trie().words()) {
    throw GrammarError("a mask buffer of " + std::to_string(words) + " words of 32 bits; this vocabulary needs " +
                       std::to_string(m.trie().words()));
  }
  return reinterpret_cast<std::uint32_t*>(address);
}

// A position that moves: for loops that own their tokens. commit() and fill() are the two hot calls. It keeps the
// buffer alive.
class Cursor {
 public:
  Cursor(std::shared_ptr<GuideMasks> m, std::uintptr_t address, std::size_t words, nb::object buffer)
      : m_(std::move(m)), out_(writable(*m_, address, words)), buffer_(std::move(buffer)), at_(begun(m_->guide())) {}
  bool commit(Token t) {
    Position next = taught([&] { return advance(*m_, at_, t); });
    if (!next.state) return false;
    at_ = std::move(next);
    return true;
  }
  void fill() {
    taught([&] {
      espalier::fill(*m_, at_, out_);
      return 0;
    });
  }
  bool accepts() const { return espalier::accepts(*m_, at_); }

 private:
  std::shared_ptr<GuideMasks> m_;
  std::uint32_t* out_;
  nb::object buffer_;
  Position at_;
};

using Rows = std::vector<std::pair<GuideMasks*, const Position*>>;

void fill_batch(const Rows& rows, std::uintptr_t address, std::size_t words, unsigned threads) {
  std::vector<MaskRow> all;
  for (const auto& [m, p] : rows) {
    writable(*m, address, words);
    if (p->matcher) life(m->guide(), *p);
  }
  const nb::gil_scoped_release release;
  for (const auto& [m, p] : rows) {
    if (p->matcher) all.push_back({&m->of(*p->matcher), p->state});
    else all.push_back({nullptr, 0});
  }
  fill_rows(all, reinterpret_cast<std::uint32_t*>(address), words, threads);
}

}  // namespace

void bind_masks(nb::module_& m) {
  nb::register_exception_translator(raise_taught);
  nb::class_<Trie>(m, "Vocabulary")
      .def("__init__",
           [](Trie* self, const std::vector<nb::bytes>& tokens) {
             std::vector<std::string> copy;
             for (const nb::bytes& t : tokens) copy.emplace_back(static_cast<const char*>(t.data()), t.size());
             const nb::gil_scoped_release release;
             const std::shared_ptr<Generation> home = Generation::current();
             const Inside inside(*home);
             new (self) Trie(std::move(copy));
           })
      .def_prop_ro("nodes", [](const Trie& t) { return t.size(); });
  nb::class_<GuideMasks>(m, "Masker")
      .def("__init__",
           [](GuideMasks* self, std::shared_ptr<Guide> guide, std::shared_ptr<Trie> trie, std::vector<Token> end) {
             const nb::gil_scoped_release release;
             new (self) GuideMasks(std::move(guide), std::move(trie), std::move(end));
           })
      .def("start", [](GuideMasks& s) { return position(begun(s.guide())); })
      .def("advance",
           [](GuideMasks& s, nb::handle at, Token t) { return position(advance(s, state(s.guide(), at), t)); })
      .def("accepts", [](GuideMasks& s, nb::handle at) { return accepts(s, state(s.guide(), at)); })
      .def("fill", [](GuideMasks& s, nb::handle at, std::uintptr_t address,
                      std::size_t words) { fill(s, state(s.guide(), at), writable(s, address, words)); })
      .def("successors",
           [](GuideMasks& s, nb::handle at, bool by_sort, std::size_t most, std::uintptr_t address, std::size_t size) {
             if (size < s.trie().vocab_size()) throw GrammarError("fewer places than the vocabulary has tokens");
             const Position& p = state(s.guide(), at);
             std::vector<Position> found;
             {
               const nb::gil_scoped_release release;
               found = successors(s, p, by_sort, most, reinterpret_cast<std::uint32_t*>(address));
             }
             nb::list all;
             for (Position& each : found) all.append(position(std::move(each)));
             return all;
           })
      .def("sorted",
           [](GuideMasks& s, nb::handle at) {
             const Position& p = state(s.guide(), at);
             if (!p.matcher) return position(p);
             Matcher& matcher = life(s.guide(), p);
             State sorted = 0;
             {
               const nb::gil_scoped_release release;
               const Working working(matcher, s.guide().limits().compile_ms);
               sorted = matcher.sorted(p.state);
             }
             return position({p.matcher, sorted});
           })
      .def("fill_batch", [](GuideMasks& s, const std::vector<nb::object>& states, std::uintptr_t address,
                            std::size_t words, unsigned threads) {
        Rows rows;
        for (const nb::object& at : states) rows.emplace_back(&s, &state(s.guide(), at));
        fill_batch(rows, address, words, threads);
      });
  m.def("fill_batch", [](const std::vector<GuideMasks*>& masks, const std::vector<nb::object>& states,
                         std::uintptr_t address, std::size_t words, unsigned threads) {
    Rows rows;
    for (std::size_t i = 0; i < states.size(); ++i)
      rows.emplace_back(masks.at(i), &state(masks[i]->guide(), states[i]));
    fill_batch(rows, address, words, threads);
  });
  nb::class_<Cursor>(m, "Cursor")
      .def(nb::init<std::shared_ptr<GuideMasks>, std::uintptr_t, std::size_t, nb::object>())
      .def("commit", &Cursor::commit)
      .def("fill", &Cursor::fill)
      .def("accepts", &Cursor::accepts);
}

}  // namespace espalier
