// Derivatives (Brzozowski 1964; Owens, Reppy and Turon 2009), whole rows at a time.
#include <algorithm>
#include <bit>

#include "base/budget.hpp"
#include "base/stack.hpp"
#include "regex/store.hpp"

namespace espalier::re {

// Splits the classes of `p` until they respect the row of `r`.
void Store::refine(Partition& p, std::uint32_t& classes, Re r) {
  const Row& row = this->row(r);
  if (classes == 1) {
    std::copy(row.cls, row.cls + 256, p.begin());
    classes = row.classes;
    return;
  }
  static thread_local std::vector<std::uint32_t> joint(1 << 16);  // class of p, class of row -> round and class
  static thread_local std::uint32_t round = 0;
  if (++round >> 24) std::fill(joint.begin(), joint.end(), 0), round = 1;
  std::uint32_t count = 0;
  for (int b = 0; b < 256; ++b) {
    std::uint32_t& c = joint[static_cast<std::size_t>(p[b]) << 8 | row.cls[b]];
    if (c >> 8 != round) c = round << 8 | count++;
    p[b] = static_cast<std::uint8_t>(c);
  }
  classes = count;
}

Partition Store::partition(Re r, std::uint32_t& classes) {
  const Node n = nodes_[r];
  Partition p{};
  classes = 1;
  switch (n.kind) {
    case Kind::Empty:
    case Kind::Epsilon:
    case Kind::Tag:
    case Kind::All: break;
    case Kind::Bytes:
      for (int b = 0; b < 256; ++b) p[b] = sets_[n.set()].has(b);
      classes = 2;
      break;
    case Kind::Cat: {
      auto [head, tail] = split(r);
      refine(p, classes, head);
      while (ended(head) && tail != kEpsilon) {
        std::tie(head, tail) = split(tail);
        refine(p, classes, head);
      }
      break;
    }
    case Kind::Not: refine(p, classes, n.negated()); break;
    case Kind::Repeat: refine(p, classes, n.repeat().of); break;
    case Kind::Loop: refine(p, classes, body(r)); break;
    case Kind::Words:
    case Kind::Tree: break;  // have rows of their own
    case Kind::Alt:
    case Kind::And:
      for (const Re x : std::vector<Re>(operands(n).begin(), operands(n).end())) refine(p, classes, x);
      break;
    case Kind::Json:
      if (const auto [text, phase, read] = n.json(); phase == 0) {
        refine(p, classes, text);
        ByteSet special;
        special.add(0, 0x1f);
        special.add('"');
        refine(p, classes, bytes(special));
        ByteSet escape;
        escape.add('\\');
        refine(p, classes, bytes(escape));
      } else {
        for (const char* c = phase == 1 ? "\"\\/bfnrtu" : phase == 3 ? "\\" : phase == 4 ? "u" : "0123456789"; *c; ++c)
          p[static_cast<unsigned char>(*c)] = static_cast<std::uint8_t>(classes++);
        if (phase == 2 || phase == 5) {
          for (int d = 0; d < 6; ++d) p['a' + d] = p['A' + d] = static_cast<std::uint8_t>(classes++);
        }
      }
  }
  return p;
}

const Row& Store::make_row(Re r) {
  static thread_local int depth = 0;
  struct Depth {
    Depth() {
      need_stack();
      if (++depth > 1500) {
        --depth;
        throw GrammarError("a regular expression nested deeper than 1,500 levels");
      }
    }
    ~Depth() { --depth; }
  } guard;
  if (nodes_[r].kind == Kind::Words) return words_row(r);
  if (nodes_[r].kind == Kind::Tree) return tree_row(r);
  if (const Row* row = literal_row(r)) return *row;
  if (const Row* row = unlisted_row(r)) return *row;
  std::uint32_t classes = 1;
  const Partition p = partition(r, classes);
  // one derivative per class; classes with equal derivatives are joined, those without any are class 0
  std::vector<Re> to{kEmpty};
  std::array<int, 256> renamed;
  renamed.fill(-1);
  Partition final_classes{};
  bool pending = false;
  for (int b = 0; b < 256; ++b) {
    int& c = renamed[p[b]];
    if (c < 0) {
      const Re d = derive(r, static_cast<std::uint8_t>(b));
      c = static_cast<int>(std::find(to.begin(), to.end(), d) - to.begin());
      if (c == static_cast<int>(to.size())) {
        to.push_back(d);
        pending |= d != kEmpty && !(nodes_[d].flags & kLive);
      }
    }
    final_classes[b] = static_cast<std::uint8_t>(c);
  }
  if (rows_[r]) return *rows_[r];  // made meanwhile, below
  if (to.size() == 257) {          // every byte goes on, each in its own way
    to.erase(to.begin());
    for (std::uint8_t& c : final_classes) --c;
  }
  return keep_row(r, final_classes, to, pending);
}

const Row& Store::keep_row(Re r, const Partition& classes, std::span<const Re> to, bool pending) {
  const std::string_view view(reinterpret_cast<const char*>(classes.data()), classes.size());
  auto at = partitions_.find(view);
  if (at == partitions_.end()) {
    partition_pool_.push_back(classes);
    const Partition& kept = partition_pool_.back();
    at = partitions_.emplace(std::string_view(reinterpret_cast<const char*>(kept.data()), kept.size()), kept.data())
             .first;
  }
  Budget::keep(0, sizeof(Row) + sizeof(Re) * to.size() + 16);
  if (targets_left_ < to.size()) {
    targets_left_ = std::max<std::size_t>(4096, to.size());
    target_pool_.push_back(std::make_unique<Re[]>(targets_left_));
    next_target_ = target_pool_.back().get();
  }
  std::copy(to.begin(), to.end(), next_target_);
  row_pool_.push_back({at->second, next_target_, static_cast<std::uint32_t>(to.size()), pending});
  next_target_ += to.size();
  targets_left_ -= to.size();
  return *(rows_[r] = &row_pool_.back());
}

// The row of x·T, or of a choice among such with disjoint sets x: names and other literals, made without derivatives.
const Row* Store::literal_row(Re r) {
  const auto plain = [&](Re x) { return nodes_[split(x).first].kind == Kind::Bytes; };
  Partition classes{};
  std::vector<Re> to{kEmpty};
  bool pending = false;
  const auto add = [&](Re x) {
    const auto [head, tail] = split(x);
    const ByteSet& s = set(head);
    for (unsigned w = 0; w < 4; ++w) {
      for (std::uint64_t bits = s.w[w]; bits; bits &= bits - 1) {
        std::uint8_t& c = classes[w * 64 + static_cast<unsigned>(std::countr_zero(bits))];
        if (c) return false;
        c = static_cast<std::uint8_t>(to.size());
      }
    }
    to.push_back(tail);
    pending |= !(nodes_[tail].flags & kLive);
    return true;
  };
  if (nodes_[r].kind == Kind::Alt) {
    for (const Re x : operands(nodes_[r])) {
      if (!plain(x) || to.size() > 200 || !add(x)) return nullptr;
    }
  } else if (!plain(r) || !add(r)) {
    return nullptr;
  }
  return &keep_row(r, classes, to, pending);
}

// The row of a string body that is any text but some words: that of any text, except where a word goes on.
const Row* Store::unlisted_row(Re r) {
  const Node n = nodes_[r];
  if (!n.whole_string()) return nullptr;
  const Node body = nodes_[n.json().text];
  if (body.kind != Kind::And || !endless(operands(body))) return nullptr;
  const std::vector<Re> parts(operands(body).begin(), operands(body).end());
  if (std::find(parts.begin(), parts.end(), text_) == parts.end()) return nullptr;
  ByteSet own;
  for (const Re part : parts) {
    if (part == text_) continue;
    const Row& row = this->row(nodes_[part].negated());
    for (unsigned b = 0x20; b < 256; ++b)
      own.w[b >> 6] |= static_cast<std::uint64_t>(row.to[row.cls[b]] != kEmpty) << (b & 63);
  }
  const Row& any = row(json(text_));
  Partition classes;
  std::copy(any.cls, any.cls + 256, classes.begin());
  std::vector<Re> to(any.to, any.to + any.classes);
  bool pending = false;
  for (unsigned b = 0x20; b < 256; ++b) {
    if (b != '\\' && (b == '"' || !own.has(b) || any.to[any.cls[b]] == kEmpty)) continue;
    if (to.size() == 256) return nullptr;
    const Re next = derive_json(n.json(), static_cast<std::uint8_t>(b));
    classes[b] = static_cast<std::uint8_t>(to.size());
    to.push_back(next);
    pending |= next != kEmpty && !(nodes_[next].flags & kLive);
  }
  return &keep_row(r, classes, to, pending);
}

Re Store::derive(Re r, std::uint8_t byte) {
  const Node n = nodes_[r];
  switch (n.kind) {
    case Kind::Empty:
    case Kind::Epsilon:
    case Kind::Tag: return kEmpty;
    case Kind::All: return kAll;
    case Kind::Bytes: return sets_[n.set()].has(byte) ? kEpsilon : kEmpty;
    case Kind::Cat: return derive_cat(r, byte);
    case Kind::Not: return negate(raw_step(n.negated(), byte));
    case Kind::Repeat: {
      const auto [of, lo, hi] = n.repeat();
      const Re head = raw_step(of, byte);
      if (head == kEmpty) return kEmpty;
      return cat(head, repeat(of, lo ? lo - 1 : 0, hi == kInf ? kInf : hi - 1));
    }
    case Kind::Json: return derive_json(n.json(), byte);
    case Kind::Loop: return raw_step(body(r), byte);
    case Kind::Tree: return tree_step(r, byte);
    case Kind::Alt:
    case Kind::And:
    case Kind::Words: break;
  }
  const auto view = operands(n);
  std::vector<Re> parts(view.begin(), view.end());
  for (Re& x : parts) {
    x = raw_step(x, byte);
    if (x == kEmpty && n.kind == Kind::And) return kEmpty;
  }
  return n.kind == Kind::Alt ? alt(std::move(parts)) : both(std::move(parts));
}

// x1·x2·x3… : the first that takes the byte, and those after it while all before them may be empty.
Re Store::derive_cat(Re r, std::uint8_t byte) {
  std::vector<Re> parts;
  std::vector<Tag> marks{0};
  for (;;) {
    const auto [head, tail] = split(r);
    const Re d = raw_step(head, byte);
    if (d != kEmpty) {
      const Re whole = cat(d, tail);
      for (const Tag t : marks) parts.push_back(mark(whole, t));
    }
    if (!ended(head) || tail == kEpsilon) break;
    const auto e = ends(head);
    if (!(e.size() == 1 && e[0] == 0)) {
      std::vector<Tag> next;
      for (const Tag s : marks) {
        for (const Tag t : e) next.push_back(std::max(s, t));
      }
      marks = std::move(next);
    }
    r = tail;
  }
  if (parts.empty()) return kEmpty;
  return parts.size() == 1 ? parts[0] : alt(std::move(parts));
}

}  // namespace espalier::re
