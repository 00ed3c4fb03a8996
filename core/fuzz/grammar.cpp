// Fuzz target: context-free grammars as the readers hand them over. Input: rules, one a line, in postfix notation, an
// empty line, the choices of a walk. Every input is some grammar:
//   A–Z a rule · `/…/` a pattern · . cat · | alt · * + ? repeats · {xy repeat x to x + y · & both · - minus · _ the
//   empty text
//   @ the machine of JSON texts · ! at the line's begin: a terminal · % at the line's begin: the rule to ignore ·
//   others: themselves
#include <algorithm>
#include <string>
#include <vector>

#include "cfg/cfg_machine.hpp"
#include "fuzz/laws.hpp"
#include "json/machine/schema_machine.hpp"

using namespace espalier;
using cfg::Op;

namespace {

class Reader {
 public:
  explicit Reader(std::vector<std::string_view> lines) : lines_(std::move(lines)) {
    for (std::size_t i = 0; i < lines_.size(); ++i)
      g_.declare(std::string(1, static_cast<char>('A' + i)), lines_[i][0] == '!' || lines_[i][0] == '%');
  }

  cfg::Grammar run() {
    for (now_ = 0; now_ < lines_.size(); ++now_) {
      std::string_view line = lines_[now_];
      if (line[0] == '%') g_.ignore = now_;
      if (line[0] == '%' || line[0] == '!') line.remove_prefix(1);
      height_ = 0;
      g_.rules[now_].defined = true;
      while (!line.empty()) line.remove_prefix(take(line));
      put(Op::cat, height_, 0, height_);
    }
    g_.start = 0;
    return std::move(g_);
  }

 private:
  void put(Op op, std::uint32_t a, std::uint32_t b, std::uint32_t operands) {
    if (height_ < operands) return;
    height_ += 1 - operands;
    g_.rules[now_].body.push_back({op, a, b});
  }

  std::size_t take(std::string_view line) {
    const char c = line[0];
    if (c >= 'A' && c <= 'Z') put(Op::ref, static_cast<std::uint32_t>(c - 'A') % lines_.size(), 0, 0);
    else if (c == '.') put(Op::cat, 2, 0, 2);
    else if (c == '|') put(Op::alt, 2, 0, 2);
    else if (c == '*') put(Op::repeat, 0, re::kInf, 1);
    else if (c == '+') put(Op::repeat, 1, re::kInf, 1);
    else if (c == '?') put(Op::repeat, 0, 1, 1);
    else if (c == '&') put(Op::both, 0, 0, 2);
    else if (c == '-') put(Op::minus, 0, 0, 2);
    else if (c == '_') put(Op::cat, 0, 0, 0);
    else if (c == '@') embed();
    else if (c == '{' && line.size() > 2) return counted(line);
    else if (c == '/') return pattern(line);
    else put(Op::regular, re::literal(line.substr(0, 1)), 1, 0);
    return 1;
  }

  std::size_t counted(std::string_view line) {
    const auto lo = static_cast<std::uint8_t>(line[1]), more = static_cast<std::uint8_t>(line[2]);
    put(Op::repeat, lo % 64, more == 255 ? re::kInf : lo % 64 + more % 64, 1);
    return 3;
  }

  std::size_t pattern(std::string_view line) {
    const std::size_t end = line.find('/', 1);
    if (end == line.npos) return 1;
    put(Op::regular, re::parse(line.substr(1, end - 1)), static_cast<std::uint32_t>(end), 0);
    return end + 1;
  }

  void embed() {
    put(Op::embed, static_cast<std::uint32_t>(g_.machines.size()), 0, 0);
    g_.machines.push_back(std::make_shared<json::SchemaMachine>("{\"maxItems\": 2, \"type\": [\"array\", \"null\"]}",
                                                                std::vector<std::pair<std::string, std::string>>{},
                                                                json::Options{}));
  }

  std::vector<std::string_view> lines_;
  cfg::Grammar g_;
  cfg::Rule now_ = 0;
  std::uint32_t height_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view all = fuzz::text({data, size});
  std::vector<std::string_view> lines;
  while (!all.empty() && all[0] != '\n' && lines.size() < 26) {
    lines.push_back(all.substr(0, all.find('\n')));
    all.remove_prefix(std::min(all.size(), lines.back().size() + 1));
  }
  if (lines.empty()) return 0;
  if (!all.empty()) all.remove_prefix(1);
  const fuzz::Input choices(data + size - all.size(), all.size());
  fuzz::bounded([&] {
    auto machine = std::make_shared<cfg::CfgMachine>(cfg::compile(Reader(lines).run()));
    const bool exact = machine->exact();
    fuzz::follow(std::move(machine), choices, exact);
  });
  return 0;
}
