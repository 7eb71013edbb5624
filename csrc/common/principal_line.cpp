#include "common/principal_line.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace bottomup {
namespace {

constexpr double kTolerance = 1e-10; // of the residual, in eigenvalues
constexpr int64_t kCheckEvery = 4;

using Vector = std::vector<double>;

double dot(const double *a, const double *b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += a[i] * b[i];
  return sum;
}

/// Numbers that no structure of a matrix is orthogonal to.
void fill_start(double *start, int64_t size) {
  uint64_t state = 0x9e3779b97f4a7c15u;
  for (int64_t i = 0; i < size; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    start[i] = 0.5 + static_cast<double>(state >> 11) * 0x1p-53;
    if (state >> 10 & 1)
      start[i] = -start[i];
  }
}

/// Whether `shift` is above every eigenvalue of the tridiagonal matrix.
bool above_all(const Vector &diagonal, const Vector &beside, double shift) {
  double pivot = shift - diagonal[0];
  for (size_t i = 1; pivot > 0 && i < diagonal.size(); ++i)
    pivot = shift - diagonal[i] - beside[i - 1] * beside[i - 1] / pivot;
  return pivot > 0;
}

double largest_eigenvalue(const Vector &diagonal, const Vector &beside) {
  double low = *std::max_element(diagonal.begin(), diagonal.end()), high = low;
  for (size_t i = 0; i < diagonal.size(); ++i)
    high = std::max(high, diagonal[i] + (i > 0 ? beside[i - 1] : 0) +
                              (i + 1 < diagonal.size() ? beside[i] : 0));
  for (int i = 0; i < 60 && high - low > 1e-15 * high; ++i) {
    const double middle = (low + high) / 2;
    (above_all(diagonal, beside, middle) ? high : low) = middle;
  }
  return high;
}

/// Unit eigenvector of the largest eigenvalue, by inverse iteration just above it, where the
/// shifted matrix is definite and needs no pivoting.
Vector largest_eigenvector(const Vector &diagonal, const Vector &beside, double value) {
  const size_t size = diagonal.size();
  double shift = value * (1 + 1e-14);
  while (!above_all(diagonal, beside, shift))
    shift += (shift - value) + 1e-300;
  Vector pivots(size), result(size, 1.0);
  pivots[0] = shift - diagonal[0];
  for (size_t i = 1; i < size; ++i)
    pivots[i] = shift - diagonal[i] - beside[i - 1] * beside[i - 1] / pivots[i - 1];
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 1; i < size; ++i)
      result[i] += beside[i - 1] / pivots[i - 1] * result[i - 1];
    result[size - 1] /= pivots[size - 1];
    for (size_t i = size - 1; i-- > 0;)
      result[i] = (result[i] + beside[i] * result[i + 1]) / pivots[i];
    const double length = std::sqrt(dot(result.data(), result.data(), size));
    for (double &component : result)
      component /= length;
  }
  return result;
}

} // namespace

double principal_line(const double *matrix, int64_t size, double *vector) {
  std::fill_n(vector, size, 0.0);
  double trace = 0;
  for (int64_t i = 0; i < size; ++i)
    trace += matrix[i * size + i];
  if (!(trace > 0))
    return 0;

  Vector basis(size * size), next(size), diagonal, beside, weights;
  fill_start(next.data(), size);
  double length = std::sqrt(dot(next.data(), next.data(), size));
  double value = 0;
  for (int64_t step = 0; step < size; ++step) {
    double *current = basis.data() + step * size;
    for (int64_t i = 0; i < size; ++i)
      current[i] = next[i] / length;
    for (int64_t i = 0; i < size; ++i)
      next[i] = dot(matrix + i * size, current, size);
    diagonal.push_back(dot(next.data(), current, size));
    for (int twice = 0; twice < 2; ++twice)
      for (int64_t j = 0; j <= step; ++j) {
        const double *other = basis.data() + j * size;
        const double overlap = dot(next.data(), other, size);
        for (int64_t i = 0; i < size; ++i)
          next[i] -= overlap * other[i];
      }
    length = std::sqrt(dot(next.data(), next.data(), size));
    const bool exhausted = step + 1 == size || length <= 1e-14 * trace;
    if (exhausted || (step + 1) % kCheckEvery == 0) {
      value = largest_eigenvalue(diagonal, beside);
      weights = largest_eigenvector(diagonal, beside, value);
      if (exhausted || length * std::abs(weights.back()) <= kTolerance * value)
        break;
    }
    beside.push_back(length);
  }

  for (size_t j = 0; j < weights.size(); ++j)
    for (int64_t i = 0; i < size; ++i)
      vector[i] += weights[j] * basis[j * size + i];
  const double *largest = std::max_element(
      vector, vector + size, [](double a, double b) { return std::abs(a) < std::abs(b); });
  const double scale = std::copysign(1 / std::sqrt(dot(vector, vector, size)), *largest);
  for (int64_t i = 0; i < size; ++i)
    vector[i] *= scale;
  return value;
}

} // namespace bottomup
