// The largest eigenvalue of a symmetric matrix and its eigenvector, in double precision.
#pragma once

#include <cstdint>

namespace bottomup {

/// Lanczos iteration with full orthogonalisation, from a start that is always the same.
///
/// matrix: (size, size) symmetric, positive semi-definite, row by row. vector: (size), written:
/// unit length, the component of largest magnitude positive; zero for a zero matrix. Returns the
/// eigenvalue. The angle to the true line is below 1e-9 * eigenvalue / gap.
double principal_line(const double *matrix, int64_t size, double *vector);

} // namespace bottomup
