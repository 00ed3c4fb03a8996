// Masks for Python: the calls that run once per token cost as little as a call can.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "masks/masker.hpp"
#include "python/bindings.hpp"

namespace nb = nanobind;

namespace espalier {

namespace {

constexpr State kEnded = 0xffffffffu;  // after an end token

// Runs `work` with the engine's lock; the GIL is given up unless the lock is free and `brief` (asked under it) says the
// work is short.
template <class Brief, class Work>
auto locked(Masker& m, double milliseconds, Brief brief, Work work) {
  if (std::unique_lock<std::recursive_mutex> lock(engine_lock(), std::try_to_lock); lock && brief()) return work();
  const nb::gil_scoped_release release;
  const EngineGuard guard(engine_lock());
  const Budget budget(milliseconds, m.matcher().limits(), m.matcher().name());
  return work();
}

State advance(Masker& m, State s, Token t) {
  if (s == 0 || s == kEnded || t >= m.trie().vocab_size()) return 0;
  m.matcher().own(s);
  if (m.is_end(t)) return m.matcher().accepts(s) ? kEnded : 0;
  const std::string_view bytes = m.trie().bytes(t);
  return bytes.empty() ? 0 : m.matcher().advance(s, bytes);
}

bool accepts(Masker& m, State s) {
  const EngineGuard guard(engine_lock());
  return s == kEnded || m.matcher().accepts(m.matcher().own(s));
}

void fill(Masker& m, State s, std::uint32_t* out) {
  locked(
      m, m.matcher().limits().mask_us / 1e3, [&] { return s == kEnded || m.ready(s); },
      [&] {
        m.fill(s == kEnded ? 0 : m.matcher().own(s), out);
        return 0;
      });
}

template <class Work>
auto reading(Masker& m, Work work) {
  return locked(m, m.matcher().limits().compile_ms, [] { return false; }, work);
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

struct Place {
  std::uint32_t* at;
  std::size_t words;
};

Place writable(Masker& m, std::uintptr_t address, std::size_t words) {
  if (words < m.trie().words()) {
    throw GrammarError("a mask buffer of " + std::to_string(words) + " words of 32 bits; this vocabulary needs " +
                       std::to_string(m.trie().words()));
  }
  return {reinterpret_cast<std::uint32_t*>(address), words};
}

// A position that moves: for loops that own their tokens. commit() and fill() are the two hot calls. It keeps the
// buffer alive.
class Cursor {
 public:
  Cursor(std::shared_ptr<Masker> m, std::uintptr_t address, std::size_t words, nb::object buffer)
      : m_(std::move(m)), out_(writable(*m_, address, words)), buffer_(std::move(buffer)) {
    state_ = reading(*m_, [&] { return m_->matcher().start(); });
  }
  bool commit(Token t) {
    const State s = taught([&] { return reading(*m_, [&] { return advance(*m_, state_, t); }); });
    if (!s) return false;
    state_ = s;
    return true;
  }
  void fill() {
    taught([&] {
      espalier::fill(*m_, state_, out_.at);
      return 0;
    });
  }
  bool accepts() const { return espalier::accepts(*m_, state_); }
  State state() const { return state_; }
  void go(State s) { state_ = s; }

 private:
  std::shared_ptr<Masker> m_;
  Place out_;
  nb::object buffer_;
  State state_;
};

}  // namespace

void bind_masks(nb::module_& m) {
  nb::register_exception_translator(raise_taught);
  nb::class_<LexemeMasks>(m, "Vocabulary")
      .def("__init__",
           [](LexemeMasks* self, const std::vector<nb::bytes>& tokens) {
             std::vector<std::string> copy;
             for (const nb::bytes& t : tokens) copy.emplace_back(static_cast<const char*>(t.data()), t.size());
             const nb::gil_scoped_release release;
             new (self) LexemeMasks(std::move(copy));
           })
      .def_prop_ro("nodes", [](LexemeMasks& s) { return s.trie().size(); })
      .def_prop_ro("memory", [](LexemeMasks& s) { return s.memory(); })
      .def("warm", [](LexemeMasks& s, Re r) {
        const nb::gil_scoped_release release;
        const EngineGuard guard(engine_lock());
        s.get(r, Trie::kRoot);
      });
  nb::class_<Masker>(m, "Masker")
      .def(nb::init<std::shared_ptr<Matcher>, std::shared_ptr<LexemeMasks>, std::vector<Token>>())
      .def("start", [](Masker& s) { return reading(s, [&] { return s.matcher().start(); }); })
      .def("advance", [](Masker& s, State at, Token t) { return reading(s, [&] { return advance(s, at, t); }); })
      .def("accepts", &accepts)
      .def("fill", [](Masker& s, State at, std::uintptr_t address, std::size_t words) {
        fill(s, at, writable(s, address, words).at);
      });
  m.attr("ENDED") = kEnded;
  nb::class_<Cursor>(m, "Cursor")
      .def(nb::init<std::shared_ptr<Masker>, std::uintptr_t, std::size_t, nb::object>())
      .def("commit", &Cursor::commit)
      .def("fill", &Cursor::fill)
      .def("accepts", &Cursor::accepts)
      .def_prop_rw("state", &Cursor::state, &Cursor::go);
}

}  // namespace espalier
