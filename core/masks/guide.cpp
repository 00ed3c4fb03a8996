// Bytes, masks and forced texts of one guide, each within its bounds.
#include "masks/guide.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

namespace espalier {

Guide::Guide(const std::shared_ptr<Machine>& machine, std::string name, const Limits& limits)
    : name_(std::move(name)), limits_(limits) {
  const Inside inside(machine->home());
  now_ = std::make_shared<Matcher>(machine, name_, limits_, this);
}

std::shared_ptr<Matcher> Guide::last() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return now_;
}

bool Guide::worn(const Matcher& m) const {
  const auto half = [](std::uint64_t spent, double most) { return most > 0 && static_cast<double>(spent) > most / 2; };
  const double bound = static_cast<double>(Generation::bound()), most = limits_.memory_mb * (1 << 20);
  return m.home().full() || half(m.life().states, static_cast<double>(limits_.states)) || half(m.life().bytes, most) ||
         half(m.life().bytes, bound);
}

std::shared_ptr<Matcher> Guide::matcher() {
  const std::shared_ptr<Matcher> old = last();
  if (!worn(*old)) return old;
  Source source;
  {
    const Working working(*old, 0);
    source = old->machine().source();
  }
  const std::shared_ptr<Generation> newest = Generation::current();
  std::shared_ptr<Matcher> fresh;
  {
    const Inside inside(*newest);
    const Budget budget(limits_.compile_ms, limits_, name_);
    fresh = std::make_shared<Matcher>(source(), name_, limits_, this);
  }
  const std::lock_guard<std::mutex> guard(lock_);
  if (now_ == old) now_ = fresh;
  return now_;
}

namespace {
std::uint64_t next_key() {
  static std::atomic<std::uint64_t> next{1};
  return next++;
}
}  // namespace

GuideMasks::GuideMasks(std::shared_ptr<Guide> guide, std::shared_ptr<const Trie> trie, std::vector<Token> end)
    : guide_(std::move(guide)), trie_(std::move(trie)), end_(std::move(end)), key_(next_key()) {
  of(*guide_->last());
}

Masker& GuideMasks::of(Matcher& m) {
  if (void* known = m.kept(key_)) return *static_cast<Masker*>(known);
  const Inside inside(m.home());
  const AtWork at_work(m.workers());
  if (void* known = m.kept(key_)) return *static_cast<Masker*>(known);
  const auto made = std::make_shared<Masker>(m, trie_, end_);
  m.keep(key_, made);
  return *made;
}

void GuideMasks::fill(Masker& masker, State s, std::uint32_t* out) {
  if (!masker.ready(s)) {
    const Working working(masker.matcher(), guide_->limits().mask_us / 1e3);
    masker.prepare(s);
  }
  masker.fill(s, out);
}

void fill_rows(std::span<const MaskRow> rows, std::uint32_t* out, std::size_t words, unsigned threads) {
  for (const MaskRow& row : rows) {
    if (!row.masker || row.masker->ready(row.state)) continue;
    Matcher& m = row.masker->matcher();
    const Working working(m, m.limits().mask_us / 1e3);
    row.masker->prepare(row.state);
  }
  constexpr std::size_t kPiece = 16;  // rows: for fewer no thread is worth its start
  const std::size_t pieces = (rows.size() + kPiece - 1) / kPiece;
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const std::size_t crew = std::min<std::size_t>(pieces, threads ? threads : cores);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      for (std::size_t i = piece * kPiece; i < std::min(rows.size(), (piece + 1) * kPiece); ++i) {
        if (rows[i].masker) rows[i].masker->fill(rows[i].state, out + i * words);
        else std::memset(out + i * words, 0, 4 * words);
      }
    }
  };
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < crew; ++i) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
}

}  // namespace espalier
