// Weights in the layout that the kernels read, and the model made of them.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "kernels/model.hpp"

namespace espalier::kernels {

// Zeroed memory on a cache line's boundary.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  std::byte* data() const { return data_.get(); }
  float* floats() const { return reinterpret_cast<float*>(data_.get()); }
  std::size_t size() const { return size_; }
  // Makes room for so many bytes; what was there is lost and zeroed if it grows.
  void need(std::size_t bytes);

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

// Asks for pages of 2 MB for memory that was not touched yet: a wish, without it everything works, slower.
void wish_large_pages(std::byte* memory, std::size_t bytes);

// Zeroed memory on a cache line's boundary for weights, cut from large pieces on pages of 2 MB where the system has
// them: a pass streams through all weights, and with pages of 4 KB it spends a third of its time looking up addresses.
// A piece lives as long as anything cut from it. Not for several threads at once.
std::shared_ptr<std::byte> memory_for_weights(std::size_t bytes);

// A matrix [out, in] in panels, filled by rows.
class Packed {
 public:
  Packed(Kind kind, int out, int in);
  // One that was filled before: its memory, nbytes() long, on a cache line's boundary. It is only read.
  Packed(Kind kind, int out, int in, std::shared_ptr<const std::byte> memory);
  // Rows first … first + rows of the matrix, as floats; `first` is a multiple of the panel's width.
  void fill(int first, int rows, const float* weights);
  void bias(const float* bias);
  // All weights as floats [out, in], as the products take them.
  void expand(float* weights) const;
  // The same matrix with its weights rounded to another kind. This one holds float32 or bfloat16.
  std::shared_ptr<Packed> rounded(Kind kind) const;
  const Matrix& matrix() const { return matrix_; }
  std::size_t nbytes() const { return bytes_; }
  int in() const { return in_; }
  bool own() const { return data_ != nullptr; }

 private:
  void measure(Kind kind, int out);
  void fill_panel(int panel, int live, const float* weights);
  void read_panel(int panel, int live, float* weights) const;

  Matrix matrix_;
  int in_;
  std::size_t bytes_;
  std::shared_ptr<std::byte> data_;          // null if it is only read
  std::shared_ptr<const std::byte> shared_;  // keeps what is only read
  Buffer bias_;
};

// Whether a kind holds each of these weights [rows, in] exactly.
bool holds(Kind kind, std::size_t rows, int in, const float* weights);

using Weights = std::shared_ptr<const Packed>;

struct PackedLayer {
  Layer layer;
  std::vector<Weights> matrices;
  std::vector<std::shared_ptr<Buffer>> norms;
};

}  // namespace espalier::kernels
