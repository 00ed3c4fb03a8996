// The store behind re.hpp: nodes, their derivatives, and what is known about them. Not for use outside re_*.cpp and the
// masks.
#pragma once
#include <algorithm>
#include <bit>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/generation.hpp"
#include "base/hash_table.hpp"
#include "regex/node.hpp"
#include "regex/re.hpp"

namespace espalier::re {

// All derivatives of a node: the bytes fall into a few classes.
struct Row {
  const std::uint8_t* cls;  // 256 class numbers, shared by all rows with the same partition
  Re* to;                   // class -> derivative
  std::uint32_t classes;
  bool pending;  // some derivative may be empty without being kEmpty: ask live()
};

using Partition = std::array<std::uint8_t, 256>;

struct Branch {  // of a tree of words
  std::uint32_t byte;
  Re to;
  bool operator==(const Branch&) const = default;
};

struct Deeper {  // while it lives
  std::uint32_t& depth;
  explicit Deeper(std::uint32_t& d) : depth(d) { ++depth; }
  ~Deeper() { --depth; }
};

class Store {
 public:
  static Store& get();
  Store();

  Re bytes(const ByteSet&);
  Re literal(std::string_view);
  Re cat(Re, Re);
  Re alt(std::vector<Re>);
  Re both(std::vector<Re>);
  Re negate(Re);
  Re repeat(Re, std::uint32_t lo, std::uint32_t hi);
  Re tag(Tag);
  Re mark(Re r, Tag t) { return cat(r, tag(t)); }
  Re json(Re, std::uint32_t phase = 0, std::uint32_t read = 0);
  // A language that is named before it is said what it is, so that it can be part of itself: X = ab | aX. Between its
  // beginning and a place where it names itself there is at least one byte. `nullable`: whether it holds "".
  Re loop(bool nullable, bool is_text);
  void close(Re loop, Re body);
  Re body(Re loop) const { return loops_[nodes_[loop].loop().number]; }
  WordId word(std::string_view, Tag);
  Re words(std::vector<WordId>);
  Re grow(Re words, std::string_view word, Re rest);
  bool within(Re lexeme, Re body, Re& out);
  // For Portable: a node made again, and the words of a list of words.
  Re again(Node, std::vector<Re> operands, const ByteSet&, const std::vector<std::pair<std::string, Tag>>& words);
  std::vector<std::pair<std::string, Tag>> listed(Re) const;
  Re codepoints(std::span<const std::pair<std::uint32_t, std::uint32_t>>);
  bool goes_on(Re);  // wherever it is, there is a longer text: known, not guessed
  Re pattern(std::string_view, bool search);
  Re text() const { return text_; }
  Re codepoint() const { return codepoint_; }
  Re clamp(Re,
           std::uint32_t length);  // agrees with r on all strings up to `length` bytes; few values for counted repeats

  // Whether r begins with given bytes, so that next() can say how it goes on without a row: then(byte, rest).
  bool spelled(Re r) const {
    const Kind k = nodes_[split(r).first].kind;
    if (k == Kind::Bytes || nodes_[r].kind == Kind::Words) return true;
    if (k == Kind::Tree && k == nodes_[r].kind) return trees_[nodes_[r].tree()].rest <= kEpsilon;
    return k == Kind::Alt && nodes_[r].kind == Kind::Alt && nodes_[r].flags & kFinite &&
           std::ranges::all_of(operands(nodes_[r]), [&](Re x) { return spelled(x) || x == kEpsilon; });
  }
  template <class Then>
  void next(Re r, const Then& then);

  // A place within finitely many words. In a list of words it is a part of the list: to look ahead makes no
  // expressions.
  struct Spelling {
    Re re = kEmpty;
    std::span<const WordId> list;  // alike up to `depth`, in order
    std::uint32_t depth = 0;
  };
  Spelling spelling(Re r) const {
    if (nodes_[r].kind != Kind::Words) return {r, {}, 0};
    const std::vector<WordId>& list = word_lists_[nodes_[r].words().list];  // in a deque: stays where it is
    return {kEmpty, list, nodes_[r].words().depth};
  }
  bool spelled(const Spelling& s) const { return !s.list.empty() || spelled(s.re); }
  template <class Then>
  void next(const Spelling&, const Then& then);  // then(byte, spelling)
  template <class Then>
  void ends(const Spelling&, const Then& then) const;  // then(tag)

  // r = front · back, where no text can be cut in two ways: what tokens do to the front does not depend on the back.
  struct Cut {
    Re front, back;
  };
  Cut cut(Re);
  Cut cut_lexeme(Re);
  const std::vector<Re>& alternatives(Re);  // expressions whose union is r, for masks

  Re step(Re r, std::uint8_t byte) {
    const Row& row = this->row(r);
    Re& to = row.to[row.cls[byte]];
    if (row.pending && !live(to)) to = kEmpty;
    return to;
  }
  // How many of these bytes only lead on within a list of words or the body of a string, with no end on the way, and
  // where to.
  std::size_t plain(Re r, std::string_view bytes) const;
  Re skip(Re r, std::string_view bytes);
  // step() for a state that may never be asked again: without a row where it can do without.
  Re follow(Re r, std::uint8_t byte) {
    if (rows_[r]) return step(r, byte);
    const Re to = derive_one(r, byte);
    return live(to) ? to : kEmpty;
  }
  const Row& row(Re r) { return rows_[r] ? *rows_[r] : make_row(r); }
  bool live(Re r) {
    const std::uint16_t flags = nodes_[r].flags;
    return flags & kLive || (!(flags & kDead) && search(r));
  }
  const Node& node(Re r) const { return nodes_[r]; }
  std::span<const Tag> ends(Re r) const { return end_sets_[nodes_[r].ends]; }
  bool ended(Re r) const { return nodes_[r].ends != 0; }
  bool nullable(Re r) const {
    const auto e = ends(r);
    return !e.empty() && e[0] == 0;
  }
  std::span<const Re> operands(const Node& n) const { return {pool_.data() + n.operands().first, n.operands().count}; }
  const ByteSet& set(Re r) const { return sets_[nodes_[r].set()]; }
  std::size_t size() const { return nodes_.size(); }
  std::string show(Re, int depth = 6) const;

 private:
  Re intern(Node, std::span<const Re> operands = {});
  bool same(const Node&, std::span<const Re>, const Node&) const;
  std::uint32_t end_set(std::vector<Tag>);
  std::uint32_t ends_of(const Node&, std::span<const Re>);
  std::uint16_t flags_of(const Node&, std::span<const Re>) const;
  bool endless(std::span<const Re> operands) const;
  std::pair<Re, Re> split(Re r) const {
    if (nodes_[r].kind != Kind::Cat) return {r, kEpsilon};
    const Pair x = nodes_[r].cat();
    return {x.head, x.tail};
  }
  bool merge_heads(std::vector<Re>&);
  bool factor(std::vector<Re>&);
  void absorb(std::vector<Re>&) const;
  std::optional<Re> distribute(const std::vector<Re>&);
  Re measure(const std::vector<Re>&);
  const Row& make_row(Re);
  const Row* literal_row(Re);
  const Row& words_row(Re);
  Re derive_one(Re, std::uint8_t);
  const Row* unlisted_row(Re);
  Re words_after(std::span<const WordId>, std::uint32_t depth);
  std::vector<WordId> in_order(std::vector<WordId>) const;
  template <class Then>
  void fork(const Spelling& words, const Then& then) const;
  std::span<const WordId> narrow(std::span<const WordId>, std::uint32_t depth, std::uint8_t byte) const;
  bool unlisted(Re body) const;
  struct Tree {
    Re rest;
    std::uint32_t first, count;  // branches
  };
  Re tree(Re rest, std::span<const Branch>);
  std::span<const Branch> grown(const Tree& t) const { return {branches_.data() + t.first, t.count}; }
  std::pair<Re, std::vector<Branch>> opened(Re) const;
  Re tree_step(Re, std::uint8_t);
  const Row& tree_row(Re);
  std::uint16_t tree_flags(const Tree&) const;
  std::uint32_t words_ends(WordRests);
  std::uint16_t words_flags(WordRests) const;
  const Row& keep_row(Re, const Partition&, std::span<const Re> to, bool pending);
  const ByteSet& alphabet(Re);
  Partition partition(Re, std::uint32_t& classes);
  void refine(Partition&, std::uint32_t& classes, Re);
  Re derive(Re, std::uint8_t);
  Re derive_cat(Re, std::uint8_t);
  Re derive_json(const StringBody&, std::uint8_t);
  Re json_escape(const StringBody&, std::uint8_t);
  Re raw_step(Re r, std::uint8_t byte) {
    const Row& row = this->row(r);
    return row.to[row.cls[byte]];
  }
  bool search(Re);
  bool escape_lives(const StringBody&);
  bool reaches(Re, std::uint32_t from, std::uint32_t to);
  Re shorter(Re);

  Run<Node> nodes_;
  Run<Row*> rows_;
  std::deque<Row> row_pool_;
  std::vector<std::unique_ptr<Re[]>> target_pool_;
  Re* next_target_ = nullptr;
  std::size_t targets_left_ = 0;
  Run<Re> pool_;
  Run<ByteSet> sets_;
  Run<Re> loops_;  // what each is
  Index ids_, set_ids_;
  std::unordered_map<std::string_view, const std::uint8_t*> partitions_;
  std::deque<Partition> partition_pool_;
  std::deque<std::vector<Tag>> end_sets_;
  std::map<std::vector<Tag>, std::uint32_t> end_ids_;
  std::map<std::vector<std::pair<std::uint32_t, std::uint32_t>>, Re> codepoint_ids_;
  std::unordered_map<std::uint64_t, Re> clamp_ids_;
  std::unordered_map<Re, Cut> cuts_;
  std::unordered_map<Re, std::vector<Re>> alternatives_;
  std::unordered_map<Re, ByteSet> alphabets_;
  std::unordered_map<Re, bool> goes_on_;
  std::map<std::pair<std::string, bool>, Re> patterns_;  // those with loops in them: read again, they would be others
  struct Word {
    std::string text;
    Tag tag;
    bool text_only;
  };
  std::deque<Word> words_;
  std::deque<std::vector<WordId>> word_lists_;
  Index word_ids_, word_list_ids_, tree_ids_;
  Run<Tree> trees_;
  Run<Branch> branches_;
  Re text_ = kEmpty, codepoint_ = kEmpty;
  inline static thread_local std::uint32_t factor_depth_ = 0;  // of the job, not of the store
};

template <class Then>
void Store::next(Re r, const Then& then) {
  const Node n = nodes_[r];
  const auto [head, tail] = split(r);
  if (n.kind == Kind::Alt) {
    const Operands all = n.operands();
    for (std::uint32_t i = 0; i < all.count; ++i) next(pool_[all.first + i], then);
  } else if (n.kind == Kind::Words) {
    fork(spelling(r), [&](std::uint8_t byte, const Spelling& rest) { then(byte, words_after(rest.list, rest.depth)); });
  } else if (n.kind == Kind::Tree) {
    const Tree t = trees_[n.tree()];
    for (std::uint32_t i = 0; i < t.count; ++i) {
      const Branch b = branches_[t.first + i];
      then(static_cast<std::uint8_t>(b.byte), b.to);
    }
  } else if (nodes_[head].kind == Kind::Bytes) {
    const ByteSet set = sets_[nodes_[head].set()];
    for (unsigned w = 0; w < 4; ++w) {
      for (std::uint64_t bits = set.w[w]; bits; bits &= bits - 1)
        then(static_cast<std::uint8_t>(w * 64 + static_cast<unsigned>(std::countr_zero(bits))), tail);
    }
  }
}

template <class Then>
void Store::next(const Spelling& s, const Then& then) {
  if (!s.list.empty()) return fork(s, then);
  next(s.re, [&](std::uint8_t byte, Re rest) { then(byte, spelling(rest)); });
}

template <class Then>
void Store::fork(const Spelling& s, const Then& then) const {
  std::size_t i = 0, j;
  while (i < s.list.size() && words_[s.list[i]].text.size() == s.depth) ++i;
  for (; i < s.list.size(); i = j) {
    const char byte = words_[s.list[i]].text[s.depth];
    for (j = i + 1; j < s.list.size() && words_[s.list[j]].text[s.depth] == byte;) ++j;
    then(static_cast<std::uint8_t>(byte), Spelling{kEmpty, s.list.subspan(i, j - i), s.depth + 1});
  }
}

template <class Then>
void Store::ends(const Spelling& s, const Then& then) const {
  if (s.list.empty()) {
    for (const Tag tag : ends(s.re)) then(tag);
  }
  for (std::size_t i = 0; i < s.list.size() && words_[s.list[i]].text.size() == s.depth; ++i)
    then(words_[s.list[i]].tag);
}

}  // namespace espalier::re
