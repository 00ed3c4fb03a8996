// What this machine can do at most, measured for the benchmark; included once per instruction set, inside its namespace
// (no include guard, see vector.hpp).

// Products of weights of a kind with inputs, as the multiplication makes them, from the first cache into registers;
// returns how many were made in so many rounds.
template <Kind kind>
INLINE double spin(long rounds) {
  constexpr int held = register_bytes == 64 ? 24 : 6;
  alignas(64) std::int32_t weights[32] = {}, inputs[held] = {};
  I whole[held];
  V part[held];
#pragma GCC unroll 24
  for (int i = 0; i < held; ++i) whole[i] = splat(0), part[i] = splat(0.0f);
  for (long round = 0; round < rounds; ++round) {
    asm volatile("" : : "r"(weights), "r"(inputs) : "memory");  // what is in memory may be other numbers now
    const I a = load(weights);
#pragma GCC unroll 24
    for (int i = 0; i < held; ++i) {
      const I b = splat(inputs[i]);
      if constexpr (kind == Kind::bf16 && bf16_pairs) {
        part[i] = dot_bf16(part[i], a, b);
      } else if constexpr (kind == Kind::f32 || kind == Kind::bf16) {
        part[i] = fma(as_floats(a), as_floats(b), part[i]);
      } else {
#if defined(ESPALIER_AVX512)
        whole[i] = dot_i8(dot_i8(whole[i], a, b), load(weights + 16), b);
#else
        whole[i] = add_pairs(add_pairs(whole[i], a, b), load(weights + 16), b);
#endif
      }
    }
  }
  V total = splat(0.0f);
#pragma GCC unroll 24
  for (int i = 0; i < held; ++i) total += part[i] + to_floats(whole[i]);
  volatile float kept = sum(total);
  static_cast<void>(kept);
  const int each = kind == Kind::f32 || (kind == Kind::bf16 && !bf16_pairs) ? 16 : kind == Kind::bf16 ? 32 : 64;
  return static_cast<double>(rounds) * held * each;
}

double products(Kind kind, long rounds) {
  switch (kind) {
    case Kind::f32: return spin<Kind::f32>(rounds);
    case Kind::bf16: return spin<Kind::bf16>(rounds);
    case Kind::i8:
    case Kind::q8:
    case Kind::i4: return spin<Kind::i8>(rounds);
  }
  return 0;
}

// Reads memory from end to end, as a pass reads weights.
float read(const std::byte* from, std::size_t bytes) {
  V total[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  for (std::size_t at = 0; at + 256 <= bytes; at += 256) {
    for (int i = 0; i < 4; ++i) __builtin_prefetch(from + at + ahead + 64 * i);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) total[i] += load(reinterpret_cast<const float*>(from + at + 64 * i));
  }
  return sum((total[0] + total[1]) + (total[2] + total[3]));
}
