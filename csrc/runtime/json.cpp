#include "runtime/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "bottomup/types.h"

namespace bottomup {
namespace {

constexpr int kDeepest = 32;

class Parser {
public:
  Parser(std::string_view text, const std::string &source) : text_(text), source_(source) {}

  Json document() {
    Json result = value(0);
    if (peek() != '\0' || place_ != text_.size())
      fail("more than one value");
    return result;
  }

private:
  [[noreturn]] void fail(const std::string &reason) const {
    throw Error(source_ + ": not JSON: " + reason + " at byte " + std::to_string(place_));
  }

  /// The next character that is no space; 0 at the end.
  char peek() {
    place_ = std::min(text_.find_first_not_of(" \t\r\n", place_), text_.size());
    return place_ < text_.size() ? text_[place_] : '\0';
  }

  void expect(char character) {
    if (peek() != character)
      fail(std::string("expected ") + character);
    ++place_;
  }

  bool take(std::string_view word) {
    const bool found = text_.substr(place_, word.size()) == word;
    place_ += found ? word.size() : 0;
    return found;
  }

  Json value(int depth) {
    if (depth > kDeepest)
      fail("too deep");
    switch (peek()) {
    case '{':
      return {object(depth)};
    case '[':
      return {array(depth)};
    case '"':
      return {string()};
    default:
      if (take("true"))
        return {true};
      if (take("false"))
        return {false};
      if (take("null"))
        return {nullptr};
      return {number()};
    }
  }

  Json::Object object(int depth) {
    Json::Object members;
    expect('{');
    while (peek() != '}') {
      if (!members.empty())
        expect(',');
      if (peek() != '"')
        fail("expected a key");
      std::string key = string();
      if (std::ranges::find(members, key, &std::pair<std::string, Json>::first) != members.end())
        fail("the key " + key + " occurs twice");
      expect(':');
      members.emplace_back(std::move(key), value(depth + 1));
    }
    expect('}');
    return members;
  }

  Json::Array array(int depth) {
    Json::Array items;
    expect('[');
    while (peek() != ']') {
      if (!items.empty())
        expect(',');
      items.push_back(value(depth + 1));
    }
    expect(']');
    return items;
  }

  double number() {
    double result = 0;
    const char *begin = text_.data() + place_, *end = text_.data() + text_.size();
    // Words such as "nan" would be numbers to from_chars.
    const bool digit = place_ < text_.size() &&
                       std::string_view("-0123456789").find(*begin) != std::string_view::npos;
    const auto [stop, error] = std::from_chars(begin, end, result);
    if (!digit || error != std::errc() || !std::isfinite(result))
      fail("expected a value");
    place_ += static_cast<size_t>(stop - begin);
    return result;
  }

  std::string string() {
    std::string result;
    ++place_;
    while (true) {
      if (place_ >= text_.size())
        fail("a string without an end");
      const char character = text_[place_++];
      if (character == '"')
        return result;
      if (static_cast<unsigned char>(character) < 0x20)
        fail("a control character in a string");
      if (character == '\\')
        escape(result);
      else
        result += character;
    }
  }

  void escape(std::string &result) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char name = place_ < text_.size() ? text_[place_++] : '\0';
    if (const size_t i = kNames.find(name); i != std::string_view::npos && name != '\0')
      result += kMeanings[i];
    else if (name == 'u')
      append_utf8(code_point(), result);
    else
      fail("an unknown escape");
  }

  uint32_t code_point() {
    uint32_t code = code_unit();
    if (code >= 0xd800 && code < 0xdc00) {
      if (!take("\\u"))
        fail("half a surrogate pair");
      const uint32_t low = code_unit();
      if (low < 0xdc00 || low > 0xdfff)
        fail("half a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return code;
  }

  uint32_t code_unit() {
    uint32_t code = 0;
    const std::string_view digits = text_.substr(place_, 4);
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (digits.size() != 4 || error != std::errc() || stop != digits.data() + 4)
      fail("expected four hexadecimal digits");
    place_ += 4;
    return code;
  }

  static void append_utf8(uint32_t code, std::string &result) {
    if (code < 0x80) {
      result += static_cast<char>(code);
      return;
    }
    const int following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    result += static_cast<char>(lead[following] | code >> (6 * following));
    for (int i = following - 1; i >= 0; --i)
      result += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3f));
  }

  std::string_view text_;
  const std::string &source_;
  size_t place_ = 0;
};

} // namespace

Json parse_json(const std::string &text, const std::string &source) {
  return Parser(text, source).document();
}

} // namespace bottomup
