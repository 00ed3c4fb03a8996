// What the kernels of every instruction set share: packed matrices, layers, one pass. Plain data, no code.
//
// A matrix [out, in] is packed in panels of 32 outputs. Within a panel the inputs follow each other, and for each input
// (pair of inputs in bf16, four in int8) the 32 outputs lie side by side, so one accumulator lane belongs to one output
// and sums over the inputs in one fixed order, however many rows are multiplied at once. That is what makes a row's
// result independent of its pass.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

constexpr int layout_number =
    1;  // of packed matrices, on every instruction set: another one whenever their bytes change
constexpr int panel_width = 32;
constexpr int group_width = 64;  // inputs are padded to a multiple of this; int8 has one scale per group
constexpr int group_bytes =
    group_width * panel_width + panel_width * 4;  // int8: the group's weights, then its 32 scales (q8: f16, per half)
constexpr int group4_bytes =
    group_width * panel_width / 2 + panel_width * 8;  // int4: digits, then per half a scale and a least, f16
constexpr int tile_rows = 12;                         // rows multiplied at once: 24 accumulators of 16 lanes
constexpr int heads_together = 4,
              rows_together = 16;  // attended to at once: heads that share keys and values, rows of a text
constexpr int at_once = 32,
              stretch = 512;  // positions: of a block of keys, and those over which softmax is taken at once

// q8 has the groups of i4: it holds what GGUF's Q8_0 does.
enum class Kind : int { f32, bf16, i8, i4, q8 };

// How keys and values are kept. i4: sixteen numbers share their least one and a step, both bf16, behind sixteen digits
// of 4 bits.
enum class Kept : int { f32, bf16, i4 };
constexpr int i4_bytes = 8 + 4;

constexpr std::size_t kept_bytes(Kept kept, int count) {
  const auto n = static_cast<std::size_t>(count);
  return kept == Kept::i4 ? n / 16 * i4_bytes : n * (kept == Kept::f32 ? 4 : 2);
}

struct Matrix {
  Kind kind = Kind::f32;
  int out = 0, depth = 0, panels = 0;
  const std::byte* data = nullptr;
  const float* bias = nullptr;  // in the order of the packed outputs, padded; null = none

  std::size_t panel_bytes() const {
    const std::size_t d = static_cast<std::size_t>(depth);
    if (kind == Kind::f32) return d * panel_width * 4;
    if (kind == Kind::bf16) return d * panel_width * 2;
    return d / group_width * (kind == Kind::i4 ? group4_bytes : group_bytes);
  }
};

struct Layer {
  const float *norm = nullptr, *q_norm = nullptr, *k_norm = nullptr, *out_norm = nullptr, *mlp_norm = nullptr,
              *down_norm = nullptr;
  Matrix qkv, out, gate_up, down;     // gate_up: each panel holds 16 gates and the 16 ups that belong to them
  int rope = 0;                       // which of the model's rotary embeddings
  int window = 0;                     // how many positions a row sees, itself included; 0 = all
  int place = -1;                     // where its keys and values are kept; -1 = at its own number
  bool attends = true, feeds = true;  // which of its two halves are run
};

struct Rope {
  const float* frequencies = nullptr;  // [head_dim / 2]
  float scale = 1;
};

struct Shape {
  int hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ff = 0;
  float eps = 0, scale = 1, attention_cap = 0, logit_cap = 0;
  bool gelu = false;
};

inline int padded(int n) { return (n + group_width - 1) / group_width * group_width; }

// Floats that a thread needs for attention: a block, and per row scores, mix and queries.
inline std::size_t attention_room(const Shape& shape) {
  const std::size_t row = static_cast<std::size_t>(heads_together) * (stretch + 2 * shape.head_dim);
  return static_cast<std::size_t>(at_once) * padded(shape.head_dim) + rows_together * row;
}

struct Pass {
  int rows = 0, answered = 0, layers = 0, ropes = 0;
  const Layer* const* layer = nullptr;
  const Rope* rope = nullptr;
  const float* final_norm = nullptr;
  const float* embedded = nullptr;  // [rows, hidden]
  const std::int32_t *positions = nullptr, *slots = nullptr;
  const std::int32_t* const* paths = nullptr;  // per row: the slots of positions 0, 1, …
  const std::int32_t* out = nullptr;           // [answered] rows
  void *keys = nullptr, *values = nullptr;     // [layers, capacity, kv_heads * head_dim]
  std::size_t capacity = 0;
  Kept kept = Kept::f32;
  float* hidden = nullptr;  // [answered, hidden]
  float* taps = nullptr;    // [answered, layers + 1, hidden] or null
};

// Rows as the multiplication wants them: in tiles of `tile` rows, within a tile the rows' lines of 64 bytes side by
// side: the first line of every row, then the second of every row … So a row's inputs are found at offsets known to the
// compiler, and no two threads write to one line. int8 has the high digits (the even ones) of 64 inputs in one line,
// the low (odd) ones in the next.
struct Tiles {
  Kind kind = Kind::f32;
  int rows = 0, depth = 0, tile = 1;
  std::byte* data = nullptr;
  float* scales = nullptr;          // int8 and int4: per row and group
  std::int32_t* offsets = nullptr;  // likewise: the sums of the group's halves
};

// Memory of one pass, reused by the next; all of it zero at first, what pads rows stays zero.
struct Scratch {
  float *x = nullptr, *qkv = nullptr, *mixed = nullptr, *delta = nullptr, *fed = nullptr, *turns = nullptr;
  float* attending = nullptr;  // per thread, see attention_room
  std::size_t attending_each = 0;
  int rows_each = 1,
      stretches = 1;  // of a task of the attention: how many rows; into how many stretches its past is cut
  float *states = nullptr,
        *parts = nullptr;  // per row and head: greatest score and sum; that and the mix of every stretch
  std::byte* tiles = nullptr;
  float* scales = nullptr;
  std::int32_t* offsets = nullptr;
};

class Team;

// A step that turns a row's law into another one.
struct Reshape {
  enum What { temperature, top_k, top_p, min_p } what;
  double by;
};

// A few logits of a row changed: `by[i]` added to that of `tokens[i]`, or all of them divided by `by[0]` where they are
// positive, multiplied where they are negative (for a factor of at least 1; the other way round for a smaller one).
struct Edit {
  enum What { add, divide } what;
  const std::int32_t* tokens;
  const float* by;
  int count;
};

// A row of logits and what makes a law of it, in this order: edits, the mask (a bitmap, or null) without the refused
// tokens, steps.
struct Wanted {
  const float* row;
  const Edit* edits;
  int edited;
  const std::uint8_t* mask;
  const std::int32_t* refused;
  int refusals;
  const Reshape* steps;
  int count;
  bool truncates() const {
    for (int i = 0; i < count; ++i)
      if (steps[i].what != Reshape::temperature) return true;
    return false;
  }
  bool asks(Reshape::What what) const {
    for (int i = 0; i < count; ++i)
      if (steps[i].what == what) return true;
    return false;
  }
};

// Floats of memory that `draw` and `likeliest` need for a row of n.
inline std::size_t room_of_row(std::size_t n) { return 5 * n + 1024; }

// One instruction set's code.
struct Kernels {
  const char* name;
  void (*forward)(Team&, int thread, const Shape&, const Pass&, const Scratch&);
  void (*head)(Team&, int thread, const Shape&, const Matrix&, const float* norm, const float* hidden, int rows,
               float* logits, const Scratch&);
  void (*top)(const float* row, int n, int k, float* values, std::int32_t* places);
  float (*log_sum_exp)(const float* row, int n);
  int (*draw)(const Wanted&, int n, double u, float* room);
  int (*likeliest)(const Wanted&, int n, int k, float* values, std::int32_t* places, float* room);
  double (*products)(Kind, long rounds);
  float (*read)(const std::byte* from, std::size_t bytes);
};

const Kernels& kernels_base();
#if defined(__x86_64__) && defined(__GNUC__)
#define ESPALIER_X86 1
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
#endif

}  // namespace espalier::kernels
