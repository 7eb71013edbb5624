#include "runtime/sha256.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace bottomup {
namespace {

using Words = std::array<uint32_t, 8>;

constexpr std::array<uint32_t, 64> kPrimes = [] {
  std::array<uint32_t, 64> primes{};
  uint32_t candidate = 1;
  for (uint32_t &prime : primes) {
    bool composite = true;
    while (composite) {
      ++candidate;
      composite = false;
      for (uint32_t divisor = 2; divisor * divisor <= candidate; ++divisor)
        composite = composite || candidate % divisor == 0;
    }
    prime = candidate;
  }
  return primes;
}();

/// The first 32 bits of the fraction of a root of a prime.
uint32_t fraction(long double root) {
  return static_cast<uint32_t>((root - std::floor(root)) * 0x1p32L);
}

const std::array<uint32_t, 64> kConstants = [] {
  std::array<uint32_t, 64> constants{};
  for (size_t i = 0; i < 64; ++i)
    constants[i] = fraction(std::cbrt(static_cast<long double>(kPrimes[i])));
  return constants;
}();

void add_block(const unsigned char *block, Words &state) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i)
    w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 |
           uint32_t{block[4 * i + 2]} << 8 | uint32_t{block[4 * i + 3]};
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t one = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                         ((e & f) ^ (~e & g)) + kConstants[i] + w[i];
    const uint32_t two =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
  }
  const Words added{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i)
    state[i] += added[i];
}

} // namespace

std::string sha256(std::string_view content) {
  Words state;
  for (size_t i = 0; i < 8; ++i)
    state[i] = fraction(std::sqrt(static_cast<long double>(kPrimes[i])));
  const auto *bytes = reinterpret_cast<const unsigned char *>(content.data());
  const size_t whole = content.size() / 64 * 64;
  for (size_t i = 0; i < whole; i += 64)
    add_block(bytes + i, state);

  // The rest, a one bit, zeros, and the number of bits.
  std::array<unsigned char, 128> end{};
  const size_t rest = content.size() - whole, size = rest < 56 ? 64 : 128;
  std::copy_n(bytes + whole, rest, end.begin());
  end[rest] = 0x80;
  for (size_t i = 0; i < 8; ++i)
    end[size - 1 - i] = static_cast<unsigned char>(uint64_t{content.size()} * 8 >> (8 * i));
  for (size_t i = 0; i < size; i += 64)
    add_block(end.data() + i, state);

  std::string digits;
  for (const uint32_t word : state)
    for (int shift = 28; shift >= 0; shift -= 4)
      digits += "0123456789abcdef"[word >> shift & 15];
  return digits;
}

} // namespace bottomup
