// SHA-256 (FIPS 180-4).
#pragma once

#include <string>
#include <string_view>

namespace bottomup {

/// In hexadecimal.
std::string sha256(std::string_view content);

} // namespace bottomup
