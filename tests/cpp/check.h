// A test framework of one page: TEST(name) { CHECK(...); } in any file of an executable, main() in check.cc.
#pragma once

#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <typeinfo>

namespace sixloop::check {

bool add_test(const char* name, void (*run)());
void fail(const char* file, int line, const std::string& what);
int failure_count();
// Makes a test that cannot run here visible in the summary.
void skip(const std::string& why);

template <class T>
std::string show(const T& value) {
  std::ostringstream out;
  out.precision(17);
  out << value;
  return out.str();
}

// Same bits, so that -0.0 is not 0.0; any NaN equals any NaN.
template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

#define TEST(name)                                                                  \
  static void test_##name();                                                        \
  static const bool added_##name = ::sixloop::check::add_test(#name, &test_##name); \
  static void test_##name()

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) ::sixloop::check::fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQ(a, b)                                                                                        \
  do {                                                                                                        \
    const auto& check_a = (a);                                                                                \
    const auto& check_b = (b);                                                                                \
    if (!(check_a == check_b)) {                                                                              \
      ::sixloop::check::fail(__FILE__, __LINE__,                                                              \
                             std::string(#a " == " #b ", got ") + ::sixloop::check::show(check_a) + " and " + \
                                 ::sixloop::check::show(check_b));                                            \
    }                                                                                                         \
  } while (false)

// The expression throws an Error whose message contains `text`.
#define CHECK_THROWS(Error, text, expression)                                                                          \
  do {                                                                                                                 \
    bool check_thrown = false;                                                                                         \
    try {                                                                                                              \
      (void)(expression);                                                                                              \
    } catch (const Error& error) {                                                                                     \
      check_thrown = true;                                                                                             \
      if (std::string(error.what()).find(text) == std::string::npos) {                                                 \
        ::sixloop::check::fail(__FILE__, __LINE__, std::string("message has no \"") + (text) + "\": " + error.what()); \
      }                                                                                                                \
    }                                                                                                                  \
    if (!check_thrown) ::sixloop::check::fail(__FILE__, __LINE__, #expression " did not throw " #Error);               \
  } while (false)

}  // namespace sixloop::check
