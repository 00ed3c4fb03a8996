// A small mutating driver for the fuzz targets where there is no libFuzzer: no coverage, but seeded and bounded in
// time. usage: fuzz_regex --seconds 7 --seed 1 SEEDS_FOLDER   or   fuzz_regex FILE…   (to run single inputs, such as a
// finding)
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" void __sanitizer_set_death_callback(void (*callback)(void));

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr unsigned kHang =
    10;  // seconds for one input: the bound is 2 s of an optimised build, the sanitizers slow it down
constexpr std::size_t kLongest = 400;

Bytes now;  // the input that runs

void report() {
  const char* at = std::getenv("FUZZ_FINDING");
  std::FILE* file = std::fopen(at ? at : "finding", "wb");
  if (!file) return;
  std::fwrite(now.data(), 1, now.size(), file);
  std::fclose(file);
  std::fprintf(stderr, "the input (%zu bytes) is in %s\n", now.size(), at ? at : "finding");
}

void stopped(int signal) {
  std::fprintf(stderr, signal == SIGALRM ? "HANG: one input took more than %u s\n" : "stopped by an abort\n", kHang);
  report();
  _exit(1);
}

Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Mutator {
 public:
  Mutator(std::vector<Bytes> seeds, std::uint64_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  Bytes operator()() {
    Bytes b = any();
    for (std::size_t n = below(6); n > 0; --n) mutate(b);
    if (b.size() > kLongest) b.resize(kLongest);
    return b;
  }

 private:
  std::size_t below(std::size_t n) { return n ? random_() % n : 0; }
  const Bytes& any() { return seeds_[below(seeds_.size())]; }

  void mutate(Bytes& b) {
    const auto at = [&] { return b.begin() + static_cast<std::ptrdiff_t>(below(b.size() + 1)); };
    static constexpr std::string_view kTelling = "(){}[]|&~^$*+?.,:\"\\/0123456789-\n abAB_@%!\xc3\xa9\xff";
    const std::size_t start = below(b.size()), length = below(std::min<std::size_t>(b.size() - start, 16) + 1);
    const Bytes piece(b.begin() + static_cast<std::ptrdiff_t>(start),
                      b.begin() + static_cast<std::ptrdiff_t>(start + length));
    switch (below(7)) {
      case 0: b.insert(at(), static_cast<std::uint8_t>(kTelling[below(kTelling.size())])); break;
      case 1: b.insert(at(), static_cast<std::uint8_t>(below(256))); break;
      case 2:
        if (!b.empty()) b[start] = static_cast<std::uint8_t>(kTelling[below(kTelling.size())]);
        break;
      case 3:
        if (!b.empty()) b[start] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 4:
        b.erase(b.begin() + static_cast<std::ptrdiff_t>(start),
                b.begin() + static_cast<std::ptrdiff_t>(start + length));
        break;
      case 5: b.insert(at(), piece.begin(), piece.end()); break;
      default: {
        const Bytes& other = any();
        const std::size_t from = below(other.size());
        const auto first = other.begin() + static_cast<std::ptrdiff_t>(from);
        b.insert(at(), first, first + static_cast<std::ptrdiff_t>(below(other.size() - from + 1)));
      }
    }
  }

  std::vector<Bytes> seeds_;
  std::mt19937_64 random_;
};

void run(Bytes input) {
  now = std::move(input);
  alarm(kHang);
  LLVMFuzzerTestOneInput(now.data(), now.size());
  alarm(0);
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGALRM, stopped);
  signal(SIGABRT, stopped);
  __sanitizer_set_death_callback(report);
  double seconds = 7;
  std::uint64_t seed = 1;
  std::vector<Bytes> seeds;
  bool mutates = false;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--seconds") && i + 1 < argc) seconds = std::atof(argv[++i]);
    else if (!std::strcmp(argv[i], "--seed") && i + 1 < argc) seed = std::strtoull(argv[++i], nullptr, 10);
    else if (std::filesystem::is_directory(argv[i])) {
      mutates = true;
      std::vector<std::filesystem::path> files;
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      for (const auto& file : files) seeds.push_back(read(file));
    } else {
      run(read(argv[i]));
    }
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (const Bytes& b : seeds) run(b);
  std::uint64_t runs = seeds.size();
  Mutator mutant(std::move(seeds), seed);
  while (mutates && std::chrono::steady_clock::now() < end) run(mutant()), ++runs;
  std::printf("%llu inputs, no finding\n", static_cast<unsigned long long>(runs));
}
